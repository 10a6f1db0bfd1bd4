// The pointwise family's member of the variant table; see variants.h.
//
// Memory: a struct of function pointers.
#ifndef MM_POINTWISE_TABLE_H
#define MM_POINTWISE_TABLE_H

typedef struct {
    int unused;
} mm_pointwise_table;

#endif
