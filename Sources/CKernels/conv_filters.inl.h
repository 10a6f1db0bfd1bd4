// Minimal filters along one axis (Winograd 1980; Lavin and Gray 2016, arXiv:1509.09308): a few neighbouring outputs of a
// correlation y[j] = sum over t of a[t] x[j + t] from fewer products than there are pairs of outputs and taps. Inputs,
// weights and products go through small linear maps; nested along several axes the savings multiply.
//
// Memory: lines of `width` floats (a multiple of MM_LANES), those of one element of the axis `step` floats apart.
enum {
    filter_direct,  // one output, every tap a product of its own: nothing changes
    filter_pair,    // two outputs of one tap: two products with the same weight, so that an axis can be walked in twos
    filter_2_2,     // two outputs of two taps: three products instead of four; points 0, -1, infinity
    filter_4_3,     // four outputs of three taps: six instead of twelve; points 0, 1, -1, 2, -2, infinity
    filter_most_outputs = 4,
    filter_most_products = 6,
};

typedef struct {
    int outputs, products, weights, saves;
} filter_counts;
// A direct axis has as many weights as taps, which count as channels do.
static const filter_counts filters[] = {{1, 1, 1, 0}, {2, 2, 1, 0}, {2, 3, 3, 1}, {4, 6, 6, 1}};

// Weights of one tap or more, the tap that reads the input at the front first.
static void filter_weights(int filter, const float *a, long step, float *u, long u_step, long width) {
    for (long i = 0; i < width; i++, a++, u++) {
        if (filter == filter_2_2) {
            const float a0 = a[0], a1 = a[step];
            u[0] = a0;
            u[u_step] = a0 + a1;
            u[2 * u_step] = a1;
        } else {
            const float a0 = a[0], a1 = a[step], a2 = a[2 * step];
            u[0] = a0 * 0.25f;
            u[u_step] = (a0 + a1 + a2) * (-1.0f / 6);
            u[2 * u_step] = (a0 - a1 + a2) * (-1.0f / 6);
            u[3 * u_step] = a0 * (1.0f / 24) + a1 * (1.0f / 12) + a2 * (1.0f / 6);
            u[4 * u_step] = a0 * (1.0f / 24) - a1 * (1.0f / 12) + a2 * (1.0f / 6);
            u[5 * u_step] = a2;
        }
    }
}

// Neighbouring inputs to those of the products; in place if v is d.
static void filter_inputs(int filter, const float *d, long step, float *v, long v_step, long width) {
    if (filter == filter_2_2) {
        for (long x = 0; x < width; x += MM_LANES) {
            const vf d0 = load(d + x), d1 = load(d + step + x), d2 = load(d + 2 * step + x);
            store(v + x, d0 - d1);
            store(v + v_step + x, d1);
            store(v + 2 * v_step + x, d2 - d1);
        }
    } else {
        for (long x = 0; x < width; x += MM_LANES) {
            const vf d0 = load(d + x), d1 = load(d + step + x), d2 = load(d + 2 * step + x);
            const vf d3 = load(d + 3 * step + x), d4 = load(d + 4 * step + x), d5 = load(d + 5 * step + x);
            const vf a = MM_FMA(splat(-4), d2, d4), b = MM_FMA(splat(-4), d1, d3);
            const vf e = d4 - d2, f = splat(2) * (d3 - d1);
            store(v + x, MM_FMA(splat(4), d0, MM_FMA(splat(-5), d2, d4)));
            store(v + v_step + x, a + b);
            store(v + 2 * v_step + x, a - b);
            store(v + 3 * v_step + x, e + f);
            store(v + 4 * v_step + x, e - f);
            store(v + 5 * v_step + x, MM_FMA(splat(4), d1, MM_FMA(splat(-5), d3, d5)));
        }
    }
}

// Sums of products to outputs.
static void filter_outputs(int filter, const float *m, long step, float *y, long y_step, long width) {
    if (filter == filter_2_2) {
        for (long x = 0; x < width; x += MM_LANES) {
            const vf m1 = load(m + step + x);
            store(y + x, load(m + x) + m1);
            store(y + y_step + x, m1 + load(m + 2 * step + x));
        }
    } else if (filter == filter_4_3) {
        for (long x = 0; x < width; x += MM_LANES) {
            const vf m0 = load(m + x), m1 = load(m + step + x), m2 = load(m + 2 * step + x);
            const vf m3 = load(m + 3 * step + x), m4 = load(m + 4 * step + x), m5 = load(m + 5 * step + x);
            const vf p = m1 + m2, q = m1 - m2, r = m3 + m4, s = m3 - m4;
            store(y + x, m0 + p + r);
            store(y + y_step + x, MM_FMA(splat(2), s, q));
            store(y + 2 * y_step + x, MM_FMA(splat(4), r, p));
            store(y + 3 * y_step + x, MM_FMA(splat(8), s, q) + m5);
        }
    } else {
        for (int i = 0; i < filters[filter].outputs; i++) memcpy(y + i * y_step, m + i * step, sizeof(float) * width);
    }
}

// The same for the last axis, whose outputs are neighbours in memory.
static void filter_outputs_across(int filter, const float *m, long step, float *y, long width) {
    if (filter == filter_direct) {
        memcpy(y, m, sizeof(float) * width);
        return;
    }
    for (long x = 0; x < width; x += MM_LANES) {
        vf y0 = load(m + x), y1 = load(m + step + x);
        if (filter == filter_2_2) {
            y0 += y1;
            y1 += load(m + 2 * step + x);
        }
        store(y + 2 * x, front_pairs(y0, y1));
        store(y + 2 * x + MM_LANES, back_pairs(y0, y1));
    }
}
