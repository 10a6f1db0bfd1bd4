// Elementwise, reduction, normalization, indexing and optimizer loops. Included by CKernels.h.
#ifndef CKERNELS_POINTWISE_H
#define CKERNELS_POINTWISE_H

#endif
