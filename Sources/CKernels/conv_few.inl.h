// Convolutions that produce few channels (at most MM_ROWS, such as the three of an image): the input is not packed, since
// each value would serve only a handful of multiply-adds. The kernel reads it in place, tap by tap.
//
// Memory: x in place, never outside the tensor; per tap one offset and the masks of the lanes that fall inside the input.
//
// Same chains as everywhere: k ascending, one multiply-add per (channel, tap), those outside the input with a zero.

// The lanes of up to most_panels panels under every tap. A tap's input lies at offset[tap] of a channel for the first
// panel, `panel_step` further for the next one.
typedef struct {
    long *offset;
    int32_t *mask;  // [tap][panels][MM_PANEL]
} few_taps;

MM_INLINE void few_body(const int rows, const int panels, long channels, long taps, const float *a, long a_row,
                        const float *x, long channel_step, const few_taps *t, long panel_step, float *c, long c_row) {
    vf sum[MM_ROWS][2 * most_panels];
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < 2 * panels; j++) sum[i][j] = splat(0);
    for (long channel = 0; channel < channels; channel++, x += channel_step) {
        const float *mask = (const float *)t->mask;
        for (long tap = 0; tap < taps; tap++, a++, mask += panels * MM_PANEL) {
            const float *from = x + t->offset[tap];
            vf column[2 * most_panels];
            MM_UNROLL for (int j = 0; j < 2 * panels; j++)
                column[j] = (vf)((vi)load(from + j / 2 * panel_step + j % 2 * MM_LANES) & (vi)load(mask + j * MM_LANES));
            MM_UNROLL for (int i = 0; i < rows; i++) {
                const vf factor = splat(a[i * a_row]);
                MM_UNROLL for (int j = 0; j < 2 * panels; j++) sum[i][j] = MM_FMA(factor, column[j], sum[i][j]);
            }
        }
    }
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < 2 * panels; j++) store(c + i * c_row + j * MM_LANES, sum[i][j]);
}

typedef void (*few_kernel)(long channels, long taps, const float *a, long a_row, const float *x, long channel_step,
                           const few_taps *t, long panel_step, float *c, long c_row);
#define MM_FEW(rows, panels)                                                                                          \
    static void few_##rows##x##panels(long channels, long taps, const float *a, long a_row, const float *x,           \
                                      long channel_step, const few_taps *t, long panel_step, float *c, long c_row) {  \
        few_body(rows, panels, channels, taps, a, a_row, x, channel_step, t, panel_step, c, c_row);                   \
    }
MM_FEW(1, 1) MM_FEW(2, 1) MM_FEW(3, 1) MM_FEW(4, 1) MM_FEW(5, 1) MM_FEW(6, 1) MM_FEW(1, 4) MM_FEW(2, 2) MM_FEW(3, 2)
enum { few_most_rows = 6 };
static const few_kernel few_kernels[few_most_rows + 1] = {0, few_1x1, few_2x1, few_3x1, few_4x1, few_5x1, few_6x1};
static const few_kernel few_wide_kernels[4] = {0, few_1x4, few_2x2, few_3x2};

// Describes `panels` whole panels from `position` on; 0 when they cannot be read in place: a panel that spans two rows of
// positions, a stride, or a tap whose reading would leave the channel.
static int find_taps(const gather *g, long position, int panels, few_taps *t, long *panel_step) {
    const gather_axis *depth = &g->axis[0], *height = &g->axis[1], *width = &g->axis[2];
    if (width->step != 1 || position + panels * MM_PANEL > gather_positions(g)) return 0;
    long first = 0;
    *panel_step = 0;
    for (int panel = 0; panel < panels; panel++) {
        const long at = position + panel * MM_PANEL;
        const long w = at % width->count, h = at / width->count % height->count, d = at / width->count / height->count;
        if (w + MM_PANEL > width->count) return 0;
        const long origin = (d * depth->step * height->size + h * height->step) * width->size + w;
        if (panel == 0) first = origin;
        else if (panel == 1) *panel_step = origin - first;
        else if (origin - first != panel * *panel_step) return 0;
        long tap = 0;
        for (long kd = 0; kd < depth->taps; kd++)
            for (long kh = 0; kh < height->taps; kh++)
                for (long kw = 0; kw < width->taps; kw++, tap++) {
                    const long z = d * depth->step + depth->offset[kd], y = h * height->step + height->offset[kh];
                    const long x = w + width->offset[kw];
                    const int inside = z >= 0 && z < depth->size && y >= 0 && y < height->size;
                    int32_t *mask = t->mask + (tap * panels + panel) * MM_PANEL;
                    for (long lane = 0; lane < MM_PANEL; lane++)
                        mask[lane] = inside && x + lane >= 0 && x + lane < width->size ? -1 : 0;
                    if (panel == 0)
                        t->offset[tap] = first + (depth->offset[kd] * height->size + height->offset[kh]) * width->size +
                                         width->offset[kw];
                }
    }
    // Masked lanes are read too: they must lie inside the channel.
    const long taps = gather_taps(g), low = *panel_step < 0 ? (panels - 1) * *panel_step : 0;
    const long high = (*panel_step > 0 ? (panels - 1) * *panel_step : 0) + MM_PANEL;
    for (long tap = 0; tap < taps; tap++)
        if (t->offset[tap] + low < 0 || t->offset[tap] + high > g->channel_step) return 0;
    return 1;
}
