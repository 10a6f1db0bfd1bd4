// The weights of minimal filters, made and packed once per call.
//
// Memory: lines of one value per row of a group pass through scratch; the sets of a phase's products are written where it
// says.
typedef struct {
    const winograd_family *family;
    const winograd_phase *phase;
    long rows;
} winograd_weights;

static void winograd_weights_task(void *context, long index) {
    enum { width = (MM_ROWS + MM_LANES - 1) / MM_LANES * MM_LANES };
    const winograd_weights *job = context;
    const winograd_family *f = job->family;
    const winograd_phase *w = job->phase;
    const long groups = group_count(job->rows), g = index % groups, block = index / groups;
    const long first = block * f->block_channels, last = least(f->channels, first + f->block_channels);
    const long start = group_start(job->rows, groups, g), count = group_start(job->rows, groups, g + 1) - start;
    const long depth = (last - first) * f->each, set = job->rows * depth, taps = gather_taps(&w->plain.from);
    const gather_axis *axis = w->plain.from.axis;
    float *to = w->weights + w->weight_sets * first * f->each * job->rows + start * depth;
    // Lines of one value per row of the group; two copies, since a filter makes more of them than it reads.
    const long lines = taps * filter_most_products * filter_most_products * filter_most_products;
    float *from = mm_scratch_take(sizeof(float) * 2 * lines * width), *next = from + lines * width;
    memset(from, 0, sizeof(float) * taps * width);
    for (long channel = first; channel < last; channel++) {
        for (long i = 0; i < count; i++) {
            const float *a = w->plain.a + (start + i) * w->plain.k + channel * taps;
            for (long t = 0; t < taps; t++) from[t * width + i] = a[t];
        }
        // From the last axis to the first: [taps before][this axis][sets and taps behind].
        long before = taps, behind = 1;
        float *a = from, *u = next;
        for (int i = 2; i >= 0; i--) {
            const int filter = w->filter[i];
            const long here = axis[i].taps, inner = behind * width;
            before /= here;
            if (filters[filter].saves) {
                const long made = filters[filter].weights, step = axis[i].offset[1] < axis[i].offset[0] ? -inner : inner;
                for (long o = 0; o < before; o++)
                    filter_weights(filter, a + o * here * inner + (step < 0 ? (here - 1) * inner : 0), step,
                                   u + o * made * inner, inner, inner);
                float *const swap = a;
                a = u, u = swap;
                behind *= made;
            } else {
                behind *= here;
            }
        }
        // Sets are apart, the taps of direct axes follow each other.
        const long n[3] = {filters[w->filter[0]].saves ? filters[w->filter[0]].weights : axis[0].taps,
                           filters[w->filter[1]].saves ? filters[w->filter[1]].weights : axis[1].taps,
                           filters[w->filter[2]].saves ? filters[w->filter[2]].weights : axis[2].taps};
        long step[3], set_step = set, tap_step = count;
        for (int i = 2; i >= 0; i--) {
            step[i] = w->filter[i] == filter_direct ? tap_step : set_step;
            *(w->filter[i] == filter_direct ? &tap_step : &set_step) *= n[i];
        }
        // What a whole vector writes too much is overwritten by the channels that follow.
        const int whole = (last - channel - 1) * f->each * count >= width;
        for (long d = 0; d < n[0]; d++)
            for (long h = 0; h < n[1]; h++)
                for (long x = 0; x < n[2]; x++, a += width) {
                    float *at = to + (channel - first) * f->each * count + d * step[0] + h * step[1] + x * step[2];
                    if (whole)
                        for (long i = 0; i < width; i += MM_LANES) store(at + i, load(a + i));
                    else
                        for (long i = 0; i < count; i++) at[i] = a[i];
                }
    }
    mm_scratch_give(from);
}
