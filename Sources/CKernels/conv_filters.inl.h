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

// Weights of two or three taps, the one that reads the input at the front first.
static void filter_weights(int filter, const float *a, long step, float *u, long u_step, long width) {
    for (long x = 0; x < width; x += MM_LANES) {
        const vf a0 = load(a + x), a1 = load(a + step + x);
        if (filter == filter_2_2) {
            store(u + x, a0);
            store(u + u_step + x, a0 + a1);
            store(u + 2 * u_step + x, a1);
        } else {
            const vf a2 = load(a + 2 * step + x), ends = a0 + a2;
            const vf far = MM_FMA(splat(1.0f / 24), a0, splat(1.0f / 6) * a2), middle = splat(1.0f / 12) * a1;
            store(u + x, splat(0.25f) * a0);
            store(u + u_step + x, splat(-1.0f / 6) * (ends + a1));
            store(u + 2 * u_step + x, splat(-1.0f / 6) * (ends - a1));
            store(u + 3 * u_step + x, far + middle);
            store(u + 4 * u_step + x, far - middle);
            store(u + 5 * u_step + x, a2);
        }
    }
}

// filter_4_3: six neighbouring inputs to those of the products; in place if v is d. Those of filter_2_2 are d[0] - d[1],
// d[1] and d[2] - d[1].
static void filter_inputs(const float *d, long step, float *v, long v_step, long width) {
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
