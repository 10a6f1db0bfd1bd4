// What a convolution or its adjoint has been reduced to: one or more phases, each an implicit product.
//
// Memory: descriptions only; they point at the caller's tensors and at scratch of the calling function.
typedef struct {
    gather from;
    const float *a;  // [rows, channels read * taps], in lanes of the job
    long rows, k, positions, columns_per_task, tiles;
    // Where the columns go: position (d, h, w) of the phase is element origin + d*step[0] + h*step[1] + w*step[2].
    int direct;  // columns are consecutive in the output
    long origin, step[3];
} conv_phase;

typedef struct {
    long samples, rows, row_tiles, row_piece;
    long x_step, y_step, y_row;  // sample of the input, sample and channel of the output
    const float *x;
    float *y;
    epilogue finish;
    int has_finish;
    int unit;            // numbers of a lane: more than one if operands hold 16-bit floats and there is an instruction for them
    long phases, tiles;  // tiles of the phase that has most
    long turns[3];       // how many phases take turns along each axis; along the width they follow each other
    conv_phase *phase;
} conv_job;

static inline long volume(const long size[3]) { return size[0] * size[1] * size[2]; }
