// Products of matrices: blocking, packing and the division into tasks. Layouts: gemm_pack.inl.h; tiles: gemm_micro.inl.h;
// what a product is: gemm_product.inl.h.
//
// Memory: operands are read in place where their layout and kind allow, else packed into scratch: A when its k is not
// contiguous or its numbers are not as lanes hold them, B always, except where few rows read contiguous rows of B. Shared
// scratch is bounded by cutting k and the columns.
//
// How work is cut never shows in the result: see gemm_micro.inl.h.
enum {
    depth_block = 256,                // a panel's block of k, in lanes: 16 KiB of B, half of the first-level cache
    tile_rows = MM_ROWS * (96 / MM_ROWS),
    tile_panels = 8,
    shared_depth = 4096,              // k per round of shared packing
    shared_floats = 4 << 20,          // packed B per round, in lanes
};
// Fewer multiply-adds than this are not worth another task.
static const double least_task = 1 << 16;

// ---- One tile --------------------------------------------------------------------------------------------------------

// Where a tile's operands lie for k = 0..<depth of the current round.
typedef struct {
    const float *a;  // the tile's first row (plain) or its packed groups, whose k runs to a_depth
    long a_row;
    int form;
    const float *b;  // the tile's first panel
    long b_row, b_panel;
} tile_source;

static void multiply_tile(const product *p, const tile_source *s, long i, long rows, long j, long columns, long depth,
                          int from_c, int last) {
    // Packed A is one block of k as it stands, since its groups are `depth` long.
    const long whole = rows <= MM_ROWS && columns > MM_PANEL ? depth : depth_block;
    const long blocks = s->form & form_packed ? 1 : most(1, divide_up(depth, whole));
    for (long block = 0; block < blocks; block++) {
        const long k0 = block * depth / blocks, k1 = (block + 1) * depth / blocks;
        const epilogue *finish = last && block == blocks - 1 && p->has_finish ? &p->finish : NULL;
        multiply_before(block + 1 < blocks ? s->b + k1 * s->b_row : NULL, rows, columns, k1 - k0, s->a + k0, s->a_row,
                        s->form, s->b + k0 * s->b_row, s->b_row, s->b_panel, p->c + i * p->c_row + j, p->c_row,
                        from_c || block > 0, finish, i, j);
    }
}

// Columns j..<j+columns and rows i..<i+rows, packing each block of B's panels itself (or reading it in place).
static void multiply_local(const product *p, long i, long rows, long j, long columns) {
    const int in_place = p->b.col == 1 && p->b.kind == kind_floats && unit_of(p) == 1 && rows <= MM_ROWS;
    const int pack_a = packs_a(p), form = form_of(p);
    const long blocks = most(1, divide_up(p->k, depth_block));
    float *a_packed = pack_a ? mm_scratch_take(sizeof(float) * rows * depth_block) : NULL;
    float *panel = mm_scratch_take(sizeof(float) * depth_block * MM_PANEL * most_panels);
    const int step = rows <= MM_ROWS ? panels_per_step(rows) : 1;
    for (long block = 0; block < blocks; block++) {
        const long k0 = block * p->k / blocks, depth = (block + 1) * p->k / blocks - k0;
        const long numbers = numbers_from(p, k0, depth);
        const operand from = a_from(p, i, k0);
        if (pack_a) pack_rows_of(unit_of(p), rows, numbers, from, a_packed);
        const float *a = pack_a ? a_packed : from.at;
        const long a_row = pack_a ? depth : p->a.row / unit_of(p);
        const epilogue *finish = block == blocks - 1 && p->has_finish ? &p->finish : NULL;
        for (long column = 0; column < columns; column += step * MM_PANEL) {
            const long width = least(columns - column, step * MM_PANEL);
            const operand b = b_from(p, k0, j + column);
            float *c = p->c + i * p->c_row + j + column;
            const int from_c = p->accumulate || block > 0;
            // In place, whole panels only: the last columns would be read past the end of the matrix.
            const long direct = in_place ? width / MM_PANEL * MM_PANEL : 0;
            if (direct > 0)
                multiply_block(rows, direct, depth, a, a_row, form, b.at, b.row, MM_PANEL, c, p->c_row, from_c, finish, i,
                               j + column);
            if (direct == width) continue;
            for (long x = direct; x < width; x += MM_PANEL)
                pack_panel_of(unit_of(p), least(width - x, MM_PANEL), numbers, part(b, 0, x),
                              panel + x / MM_PANEL * depth * MM_PANEL);
            multiply_block(rows, width - direct, depth, a, a_row, form, panel + direct / MM_PANEL * depth * MM_PANEL,
                           MM_PANEL, depth * MM_PANEL, c + direct, p->c_row, from_c, finish, i, j + column + direct);
        }
    }
    mm_scratch_give(panel);
    if (a_packed) mm_scratch_give(a_packed);
}

// ---- Tasks -----------------------------------------------------------------------------------------------------------

// Cuts 0..<size into pieces of `piece`.
typedef struct {
    long size, piece, count;
} cut;
static inline cut cut_into(long size, long piece) { return (cut){size, piece, divide_up(size, piece)}; }
static inline long cut_start(cut c, long index) { return index * c.piece; }
static inline long cut_length(cut c, long index) { return least(c.piece, c.size - index * c.piece); }

typedef struct {
    product p;
    long batch, a_step, b_step, c_step;
    cut rows, columns;  // of tiles
    // The round: k = first..<first+depth, columns = column..<column+columns.size.
    long first, depth, column;
    int from_c, last;
    float *a_packed;        // as pack_rows makes it, tile by tile, or NULL
    const float *b_panels;  // of `column`, k = first
    long b_panel;
    float *b_target;  // what the packing tasks write
    cut packing;
} product_job;

static void local_task(void *context, long index) {
    const product_job *job = context;
    const long per_product = job->rows.count * job->columns.count;
    const long which = index / per_product, tile = index % per_product;
    const long r = tile % job->rows.count, c = tile / job->rows.count;
    product p = job->p;
    p.a = moved(p.a, which * job->a_step), p.b = moved(p.b, which * job->b_step), p.c += which * job->c_step;
    multiply_local(&p, cut_start(job->rows, r), cut_length(job->rows, r), cut_start(job->columns, c),
                   cut_length(job->columns, c));
}

static void pack_a_task(void *context, long index) {
    const product_job *job = context;
    const long i = cut_start(job->rows, index);
    pack_rows_of(unit_of(&job->p), cut_length(job->rows, index), numbers_from(&job->p, job->first, job->depth),
                 a_from(&job->p, i, job->first), job->a_packed + i * job->depth);
}

static void pack_b_task(void *context, long index) {
    const product_job *job = context;
    const product *p = &job->p;
    long from = cut_start(job->packing, index);
    const long to = from + cut_length(job->packing, index);
    if (p->b.col == 1 && p->b.kind == kind_floats && unit_of(p) == 1) {
        const long whole = least(to, job->columns.size / MM_PANEL) - from;
        const float *b = b_from(p, job->first, job->column + from * MM_PANEL).at;
        pack_wide(whole, job->depth, b, p->b.row, job->b_target + from * job->b_panel, job->b_panel);
        from += most(whole, 0);
    }
    for (long panel = from; panel < to; panel++) {
        const long j = job->column + panel * MM_PANEL;
        pack_panel_of(unit_of(p), least(MM_PANEL, job->column + job->columns.size - j),
                      numbers_from(p, job->first, job->depth), b_from(p, job->first, j),
                      job->b_target + panel * job->b_panel);
    }
}

static void tile_task(void *context, long index) {
    const product_job *job = context;
    const product *p = &job->p;
    const long r = index % job->rows.count, c = index / job->rows.count;
    const long i = cut_start(job->rows, r), rows = cut_length(job->rows, r);
    const long j = cut_start(job->columns, c), columns = cut_length(job->columns, c);
    const tile_source source = {
        .a = job->a_packed ? job->a_packed + i * job->depth : a_from(p, i, job->first).at,
        .a_row = job->a_packed ? job->depth : p->a.row / unit_of(p),
        .form = form_of(p),
        .b = job->b_panels + j / MM_PANEL * job->b_panel,
        .b_row = MM_PANEL,
        .b_panel = job->b_panel,
    };
    multiply_tile(p, &source, i, rows, job->column + j, columns, job->depth, job->from_c, job->last);
}

// Tiles of at most tile_rows x tile_panels panels, smaller where that would leave threads without work.
static void choose_tiles(product_job *job, long rows, long columns) {
    const long threads = mm_thread_count();
    const double work = (double)rows * columns * most(1, job->p.k);
    const long wanted = threads == 1 ? 1 : (long)fmin(4.0 * threads, fmax(1, work / least_task));
    long row_piece = divide_up(rows, divide_up(rows, tile_rows)), panels = tile_panels;
    row_piece = least(rows, divide_up(row_piece, MM_ROWS) * MM_ROWS);
    while (panels > 1 && divide_up(rows, row_piece) * divide_up(columns, panels * MM_PANEL) < wanted) panels /= 2;
    while (row_piece > 2 * MM_ROWS && divide_up(rows, row_piece) * divide_up(columns, panels * MM_PANEL) < wanted)
        row_piece = divide_up(row_piece / 2, MM_ROWS) * MM_ROWS;
    job->rows = cut_into(rows, row_piece);
    job->columns = cut_into(columns, panels * MM_PANEL);
}

// ---- mm_gemm_f32 -----------------------------------------------------------------------------------------------------

// Few rows: every task packs the panels it needs, none is needed twice.
static void run_local(product_job *job) {
    const product *p = &job->p;
    const long threads = mm_thread_count(), panels = divide_up(p->n, MM_PANEL);
    const double work = (double)p->m * p->n * most(1, p->k);
    const long wanted = threads == 1 ? 1 : (long)fmin(8.0 * threads, fmax(1, job->batch * work / least_task));
    const long each = divide_up(wanted, job->batch);
    long column_tasks = least(panels, each);
    long row_tasks = least(divide_up(p->m, 2 * MM_ROWS), divide_up(each, column_tasks));
    // A single row steps by several panels.
    const long per_task = divide_up(panels, column_tasks), step = p->m <= MM_ROWS ? panels_per_step(p->m) : 1;
    job->columns = cut_into(p->n, divide_up(per_task, step) * step * MM_PANEL);
    job->rows = cut_into(p->m, divide_up(divide_up(p->m, row_tasks), MM_ROWS) * MM_ROWS);
    mm_parallel(job->batch * job->rows.count * job->columns.count, local_task, job);
}

// Many rows: B is packed once by all threads, then every tile reads it.
static void run_shared(product_job *job) {
    const product *p = &job->p;
    const long depth_rounds = most(1, divide_up(p->k, shared_depth));
    const long depth_most = divide_up(p->k, depth_rounds);
    const long column_most = most(tile_panels, shared_floats / most(1, depth_most) / MM_PANEL) * MM_PANEL;
    const int pack_a = packs_a(p);
    const long width = least(column_most, divide_up(p->n, MM_PANEL) * MM_PANEL);
    job->b_target = mm_scratch_take(sizeof(float) * most(1, depth_most) * width);
    // A's packing is one block of k: cut finer, so that a panel's block stays in the first-level cache.
    for (long column = 0; column < p->n; column += column_most) {
        const long columns = least(column_most, p->n - column);
        choose_tiles(job, p->m, columns);
        if (pack_a && !job->a_packed) job->a_packed = mm_scratch_take(sizeof(float) * p->m * least(p->k, depth_block));
        for (long round = 0; round < depth_rounds; round++) {
            const long start = round * p->k / depth_rounds, stop = (round + 1) * p->k / depth_rounds;
            job->first = start, job->depth = stop - start, job->column = column;
            job->b_panel = job->depth * MM_PANEL;
            job->packing = cut_into(divide_up(columns, MM_PANEL), 4);
            mm_parallel(job->packing.count, pack_b_task, job);
            const long blocks = pack_a ? divide_up(stop - start, depth_block) : 1;
            for (long block = 0; block < blocks; block++) {
                job->first = start + block * (stop - start) / blocks;
                job->depth = start + (block + 1) * (stop - start) / blocks - job->first;
                job->b_panels = job->b_target + (job->first - start) * MM_PANEL;
                job->from_c = p->accumulate || job->first > 0;
                job->last = job->first + job->depth == p->k;
                if (pack_a) mm_parallel(job->rows.count, pack_a_task, job);
                mm_parallel(job->rows.count * job->columns.count, tile_task, job);
            }
        }
    }
    if (job->a_packed) mm_scratch_give(job->a_packed);
    mm_scratch_give(job->b_target);
}

static void gemm_of(long m, long n, long k, operand a, operand b, float *c, long c_row, int accumulate, const float *bias,
                    int activation) {
    if (m <= 0 || n <= 0) return;
    product_job job = {.batch = 1};
    job.p = make_product(m, n, k, a, b, c, c_row, accumulate, bias, activation);
    if (m <= 2 * tile_rows) run_local(&job);
    else run_shared(&job);
}

static void gemm(long m, long n, long k, const float *a, long a_row, long a_col, const float *b, long b_row, long b_col,
                 float *c, long c_row, int accumulate, const float *bias, int activation) {
    gemm_of(m, n, k, floats_at(a, a_row, a_col), floats_at(b, b_row, b_col), c, c_row, accumulate, bias, activation);
}

static void gemm_mixed(long m, long n, long k, const uint16_t *a, long a_row, long a_col, const void *b, int b_type,
                       long b_row, long b_col, float *c, long c_row, const float *bias) {
    const operand right = {b, b_row, b_col, b_type == MM_BF16 ? kind_halves : kind_rounded};
    gemm_of(m, n, k, (operand){a, a_row, a_col, kind_halves}, right, c, c_row, 0, bias, MM_IDENTITY);
}

static void gemm_batch(long batch, long m, long n, long k, const float *a, long a_step, long a_row, long a_col,
                       const float *b, long b_step, long b_row, long b_col, float *c, long c_step, long c_row) {
    if (batch <= 0 || m <= 0 || n <= 0) return;
    if (batch > 1 && m <= 8 * tile_rows) {
        product_job job = {.batch = batch, .a_step = a_step, .b_step = b_step, .c_step = c_step};
        job.p = make_product(m, n, k, floats_at(a, a_row, a_col), floats_at(b, b_row, b_col), c, c_row, 0, NULL,
                             MM_IDENTITY);
        run_local(&job);
        return;
    }
    for (long i = 0; i < batch; i++)
        gemm(m, n, k, a + i * a_step, a_row, a_col, b + i * b_step, b_row, b_col, c + i * c_step, c_row, 0, NULL,
             MM_IDENTITY);
}

// ---- Packed weights --------------------------------------------------------------------------------------------------

static void pack_weights(long n, long k, const float *weights, float *panels) {
    product_job job = {.batch = 1, .depth = k, .b_panel = k * MM_PANEL, .b_target = panels};
    job.p = make_product(0, n, k, floats_at(NULL, 0, 1), floats_at(weights, 1, k), NULL, 0, 0, NULL, MM_IDENTITY);
    job.columns = cut_into(n, MM_PANEL);
    job.packing = cut_into(divide_up(n, MM_PANEL), 4);
    mm_parallel(job.packing.count, pack_b_task, &job);
}

static void gemm_packed(long m, long n, long k, const float *a, long a_row, const float *panels, float *c, long c_row,
                        const float *bias, int activation) {
    if (m <= 0 || n <= 0) return;
    product_job job = {.batch = 1, .depth = k, .last = 1, .b_panels = panels, .b_panel = k * MM_PANEL};
    job.p = make_product(m, n, k, floats_at(a, a_row, 1), floats_at(NULL, 0, 0), c, c_row, 0, bias, activation);
    choose_tiles(&job, m, n);
    mm_parallel(job.rows.count * job.columns.count, tile_task, &job);
}

// A product inside another kernel's task: on this thread, packing as it goes.
static void gemm_here(long m, long n, long k, operand a, operand b, float *c, long c_row, int accumulate) {
    if (m <= 0 || n <= 0) return;
    const product p = make_product(m, n, k, a, b, c, c_row, accumulate, NULL, MM_IDENTITY);
    multiply_local(&p, 0, m, 0, n);
}
