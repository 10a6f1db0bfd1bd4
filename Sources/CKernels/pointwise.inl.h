// Elementwise, reduction and normalization loops, compiled once per instruction set; see variants.h.
//
// Memory: as stated at each function.
static const mm_pointwise_table pointwise_functions = {0};
