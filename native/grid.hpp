// The multiresolution grid (tiny-cuda-nn's function): gather, scatter and contract are the three derivatives of one
// trilinear form, each also with the corner weights' derivative along a direction. See kernels/grid/reference.py.
//
// Work goes level by level over all points, so that one level's table is in the caches at a time, W points side by
// side. Tables are written by one thread per (part of a) level: no atomics, and sums in the order of the points.
#pragma once
#include "gemm.hpp"
#include "neufield.h"
#include "parallel.hpp"

namespace NF_ISA {

constexpr int64_t kBlock = 8192;    // points of a job
constexpr uint32_t kPrimes[4] = {1u, 2654435761u, 805459861u, 3674653429u};

inline int64_t padded(int64_t n) { return (n + kTile - 1) / kTile * kTile; }

// Where channel c of point p lies: rows of a matrix, or a network's tiles (in_tile).
struct Rows {
  float* data;
  int64_t channels;
  float* at(int64_t p, int64_t c) const { return data + p * channels + c; }
  static constexpr int64_t step = 0;  // between neighbouring points; 0: `channels`
  int64_t stride() const { return channels; }
};
struct Tiles {
  float* data;
  int64_t channels;
  float* at(int64_t p, int64_t c) const { return data + in_tile(channels, c, p); }
  static constexpr int64_t step = 1;
  int64_t stride() const { return 1; }
};

template <class Layout>
inline vf load_points(const Layout& from, int64_t p, int64_t c, int live) {
  const float* data = from.at(p, c);
  if (Layout::step == 1) return load(data);
  vf r{};
  for (int i = 0; i < live; i++) r[i] = data[i * from.stride()];
  return r;
}

template <class Layout>
inline void store_points(const Layout& to, int64_t p, int64_t c, int live, vf value) {
  float* data = to.at(p, c);
  if (Layout::step == 1) return store(data, value);
  for (int i = 0; i < live; i++) data[i * to.stride()] = value[i];
}

// Points as one row of n (padded with zeros) per axis.
inline void to_columns(const float* x, int64_t n, int dim, float* columns, int threads) {
  const int64_t total = padded(n);
  for_each(threads, (total + kBlock - 1) / kBlock, [=](int64_t block) {
    const int64_t end = (block + 1) * kBlock < total ? (block + 1) * kBlock : total;
    for (int j = 0; j < dim; j++)
      for (int64_t p = block * kBlock; p < end; p++) columns[j * total + p] = p < n ? x[p * dim + j] : 0.0f;
  });
}

// W points within one level: their cells' corners and the shares of each axis, with the derivatives by x.
template <int D, int C>
struct Cells {
  vu at[D][2];
  vf share[D][2], slope[D][2], bend[D][2];
};

template <int D, int C, int Order>
inline Cells<D, C> locate(const nf_level& level, int interpolation, const float* columns, int64_t total, int64_t p) {
  Cells<D, C> cells;
  uint32_t step = 1;
  for (int j = 0; j < D; j++) {
    const vf x = load(columns + j * total + p);
    const vf place = position(x, level.scale);
    const vf cell = floor(place);
    const vf u = place - cell;
    const uint32_t stride = level.hashed ? kPrimes[j] : step;
    const vu low = (vu)to_int(cell) * stride;
    cells.at[j][0] = low;
    cells.at[j][1] = low + stride;
    step *= level.resolution;
    const bool smooth = interpolation == NF_SMOOTHSTEP;
    const vf up = C == 1 ? 0.0f * u : smooth ? u * u * (3.0f - 2.0f * u) : u;
    cells.share[j][0] = 1.0f - up;
    cells.share[j][1] = up;
    if (Order >= 1) {
      const vf d = C == 1 ? 0.0f * u : smooth ? 6.0f * u * (1.0f - u) * level.scale : splat(level.scale);
      cells.slope[j][0] = -d;
      cells.slope[j][1] = d;
    }
    if (Order >= 2) {
      const vf d = smooth ? (6.0f - 12.0f * u) * (level.scale * level.scale) : vf{};
      cells.bend[j][0] = -d;
      cells.bend[j][1] = d;
    }
  }
  return cells;
}

template <int D, int C>
inline vu rows_of(const nf_level& level, const Cells<D, C>& cells, int corner) {
  vu row = cells.at[0][corner & 1];
  if (level.hashed) {
    for (int j = 1; j < D; j++) row ^= cells.at[j][corner >> j & 1];
    return row & (level.size - 1);
  }
  for (int j = 1; j < D; j++) row += cells.at[j][corner >> j & 1];
  if (__builtin_expect(any((vi)(row >= level.size)), 0)) row %= level.size;
  return row;
}

// The product of the shares of all axes but `skip` (-1: none), and its derivative along v.
template <int D, int C>
inline vf share_product(const Cells<D, C>& cells, int corner, int skip) {
  vf w = splat(1.0f);
  for (int j = 0; j < D; j++)
    if (j != skip) w *= cells.share[j][corner >> j & 1];
  return w;
}

template <int D, int C>
inline vf share_product_along(const Cells<D, C>& cells, int corner, int skip, const vf* v) {
  vf w{};
  for (int k = 0; k < D; k++) {
    if (k == skip) continue;
    vf term = v[k] * cells.slope[k][corner >> k & 1];
    for (int j = 0; j < D; j++)
      if (j != k && j != skip) term *= cells.share[j][corner >> j & 1];
    w += term;
  }
  return w;
}

// What the three share: the spec, the points, perhaps a direction.
struct Points {
  const nf_grid* grid;
  int64_t n, total;       // points; and padded to whole tiles
  const float* columns;   // (dim, total)
  const float* along;     // (dim, total) or null
};

template <int D>
inline void direction(const Points& points, int64_t p, vf* v) {
  for (int j = 0; j < D; j++) v[j] = load(points.along + j * points.total + p);
}

inline int live_points(int64_t n, int64_t tile) { return n - tile < kTile ? (int)(n - tile) : kTile; }

// The corners of a tile of points in one level, found one tile ahead of their use: the rows of a large table are then
// on their way from memory while the tile before is worked on.
template <int C>
struct Corners {
  alignas(64) uint32_t rows[C][kTile];
  alignas(64) float weights[C][kTile];
};

constexpr int64_t kNear = 1 << 17;  // bytes of a table that the near caches hold anyway

enum class Weights { none, plain, along };

template <int D, int C, Weights Kind>
inline void find_corners(const Points& points, const nf_level& level, int64_t tile, const float* rows, Corners<C>& corners) {
  for (int i = 0; i < kTile; i += W) {
    const int64_t p = tile + i;
    const auto cells = locate<D, C, Kind == Weights::along>(level, points.grid->interpolation, points.columns, points.total, p);
    vf v[D];
    if (Kind == Weights::along) direction<D>(points, p, v);
    for (int c = 0; c < C; c++) {
      store(corners.rows[c] + i, rows_of(level, cells, c));
      if (Kind == Weights::plain) store(corners.weights[c] + i, share_product(cells, c, -1));
      if (Kind == Weights::along) store(corners.weights[c] + i, share_product_along(cells, c, -1, v));
    }
  }
  const int F = points.grid->n_features;
  if ((int64_t)level.size * F * (int64_t)sizeof(float) <= kNear) return;
  for (int c = 0; c < C; c++)
    for (int i = 0; i < kTile; i++) __builtin_prefetch(rows + (size_t)corners.rows[c][i] * F);
}

// use(corners, tile) for the tiles of [begin, end), begin a multiple of 64.
template <int D, int C, Weights Kind, class Use>
inline void for_corners(const Points& points, const nf_level& level, int64_t begin, int64_t end, const float* rows, const Use& use) {
  Corners<C> buffers[2];
  if (begin >= end) return;
  find_corners<D, C, Kind>(points, level, begin, rows, buffers[0]);
  int now = 0;
  for (int64_t tile = begin; tile < end; tile += kTile, now ^= 1) {
    if (tile + kTile < end) find_corners<D, C, Kind>(points, level, tile + kTile, rows, buffers[now ^ 1]);
    use(buffers[now], tile);
  }
}

template <int D, int C, bool Along, class Layout>
void gather(const Points& points, int l, int64_t begin, int64_t end, const float* table, const Layout& out) {
  const nf_level& level = points.grid->levels[l];
  const int F = points.grid->n_features;
  const float* rows = table + level.offset * F;
  for_corners<D, C, Along ? Weights::along : Weights::plain>(points, level, begin, end, rows, [&](const Corners<C>& corners, int64_t tile) {
    // Tiles are filled to their end, with what lies at 0: it meets gradients of 0, and must be finite.
    const int live = Layout::step == 1 ? kTile : live_points(points.n, tile);
    if (F == 2) {
      for (int i = 0; i < live; i += W) {
        vf sum0{}, sum1{};
        for (int c = 0; c < C; c++) {
          vf t0, t1;
          load_pairs(rows, corners.rows[c] + i, t0, t1);
          const vf w = load(corners.weights[c] + i);
          sum0 += w * t0;
          sum1 += w * t1;
        }
        const int lanes = live - i < W ? live - i : W;
        store_points(out, tile + i, 2 * l, lanes, sum0);
        store_points(out, tile + i, 2 * l + 1, lanes, sum1);
      }
      return;
    }
    for (int i = 0; i < live; i++)
      for (int f = 0; f < F; f++) {
        float total = 0;
        for (int c = 0; c < C; c++) total += corners.weights[c][i] * rows[(size_t)corners.rows[c][i] * F + f];
        *out.at(tile + i, (int64_t)l * F + f) = total;
      }
  });
}

// Rows [low, high) of the level's table, from all points.
template <int D, int C, bool Along, class Layout>
void scatter(const Points& points, int l, uint32_t low, uint32_t high, const Layout& g, float* table) {
  const nf_level& level = points.grid->levels[l];
  const int F = points.grid->n_features;
  const bool whole = low == 0 && high == level.size;
  float* rows = table + level.offset * F;
  __builtin_memset(rows + (size_t)low * F, 0, (size_t)(high - low) * F * sizeof(float));
  for_corners<D, C, Along ? Weights::along : Weights::plain>(points, level, 0, points.n, rows, [&](const Corners<C>& corners, int64_t tile) {
    const int live = live_points(points.n, tile);
    int i = 0;
    if (F == 2)
      for (; i + W <= live; i += W) {
        const vf g0 = load_points(g, tile + i, 2 * l, W), g1 = load_points(g, tile + i, 2 * l + 1, W);
        for (int c = 0; c < C; c++) {
          const vf w = load(corners.weights[c] + i);
          if (whole)
            add_pairs(rows, corners.rows[c] + i, w * g0, w * g1);
          else
            add_pairs_within(low, high, rows, corners.rows[c] + i, w * g0, w * g1);
        }
      }
    for (; i < live; i++)
      for (int c = 0; c < C; c++) {
        const uint32_t r = corners.rows[c][i];
        if (r >= low && r < high)
          for (int f = 0; f < F; f++) rows[(size_t)r * F + f] += corners.weights[c][i] * *g.at(tile + i, (int64_t)l * F + f);
      }
  });
}

// dx += of one level, for points [begin, end); dx in columns (dim, total).
template <int D, int C, bool Along, class Layout>
void contract(const Points& points, int l, int64_t begin, int64_t end, const float* table, const Layout& g, float* dx) {
  if (C == 1) return;
  const nf_level& level = points.grid->levels[l];
  const int F = points.grid->n_features;
  const float* rows = table + level.offset * F;
  for_corners<D, C, Weights::none>(points, level, begin, end, rows, [&](const Corners<C>& corners, int64_t tile) {
    const int live = live_points(points.n, tile);
    for (int i = 0; i < live; i += W) {
      const int64_t p = tile + i;
      const int lanes = live - i < W ? live - i : W;
      vf q[C];
      if (F == 2) {
        const vf g0 = load_points(g, p, 2 * l, lanes), g1 = load_points(g, p, 2 * l + 1, lanes);
        for (int c = 0; c < C; c++) {
          vf t0, t1;
          load_pairs(rows, corners.rows[c] + i, t0, t1);
          q[c] = t0 * g0 + t1 * g1;
        }
      } else {
        for (int c = 0; c < C; c++) {
          q[c] = vf{};
          for (int lane = 0; lane < lanes; lane++)
            for (int f = 0; f < F; f++) q[c][lane] += rows[(size_t)corners.rows[c][i + lane] * F + f] * *g.at(p + lane, (int64_t)l * F + f);
        }
      }
      const auto cells = locate<D, C, 1 + Along>(level, points.grid->interpolation, points.columns, points.total, p);
      vf v[D];
      if (Along) direction<D>(points, p, v);
      for (int k = 0; k < D; k++) {
        // The two corners of an edge along axis k differ in the sign of their slope and bend, and in nothing else.
        vf across{}, along{};
        for (int edge = 0; edge < C / 2; edge++) {
          const int low = (edge & ((1 << k) - 1)) | (edge >> k << (k + 1));
          const vf difference = q[(low | 1 << k) % C] - q[low % C];
          across += difference * share_product(cells, low, k);
          if (Along) along += difference * share_product_along(cells, low, k, v);
        }
        const vf slope = cells.slope[k][1];
        const vf change = Along ? slope * along + v[k] * cells.bend[k][1] * across : slope * across;
        float* out = dx + k * points.total + p;
        store(out, load(out) + change);
      }
    }
  });
}

// Calls f.template run<D, C>() for the grid's dimension and corners.
template <class F>
void by_shape(const nf_grid* grid, const F& f) {
  const bool nearest = grid->interpolation == NF_NEAREST;
  switch (grid->dim) {
    case 1: return nearest ? f.template run<1, 1>() : f.template run<1, 2>();
    case 2: return nearest ? f.template run<2, 1>() : f.template run<2, 4>();
    case 3: return nearest ? f.template run<3, 1>() : f.template run<3, 8>();
    default: return nearest ? f.template run<4, 1>() : f.template run<4, 16>();
  }
}

template <class Layout>
struct GatherJob {
  const Points& points;
  int level;
  int64_t begin, end;
  const float* table;
  const Layout& out;
  template <int D, int C>
  void run() const {
    points.along ? gather<D, C, true>(points, level, begin, end, table, out) : gather<D, C, false>(points, level, begin, end, table, out);
  }
};

template <class Layout>
struct ScatterJob {
  const Points& points;
  int level;
  uint32_t low, high;
  const Layout& g;
  float* table;
  template <int D, int C>
  void run() const {
    points.along ? scatter<D, C, true>(points, level, low, high, g, table) : scatter<D, C, false>(points, level, low, high, g, table);
  }
};

template <class Layout>
struct ContractJob {
  const Points& points;
  int level;
  int64_t begin, end;
  const float* table;
  const Layout& g;
  float* dx;
  template <int D, int C>
  void run() const {
    points.along ? contract<D, C, true>(points, level, begin, end, table, g, dx) : contract<D, C, false>(points, level, begin, end, table, g, dx);
  }
};

template <class Layout>
void gather_all(const Points& points, const float* table, const Layout& out, int threads) {
  const int64_t blocks = (points.n + kBlock - 1) / kBlock;
  for_each(threads, blocks * points.grid->n_levels, [&](int64_t job) {
    const int64_t begin = job % blocks * kBlock, end = begin + kBlock < points.n ? begin + kBlock : points.n;
    by_shape(points.grid, GatherJob<Layout>{points, (int)(job / blocks), begin, end, table, out});
  });
}

template <class Layout>
void scatter_all(const Points& points, const Layout& g, float* table, int threads) {
  const int levels = points.grid->n_levels;
  // Enough owners for every thread, with some to spare for balance; each part of a level goes over all points again.
  const int parts = threads <= 1 ? 1 : (2 * threads + levels - 1) / levels;
  for_each(threads, (int64_t)levels * parts, [&](int64_t job) {
    const int level = levels - 1 - (int)(job / parts), part = (int)(job % parts);  // the largest first
    const uint64_t size = points.grid->levels[level].size;
    const uint32_t low = (uint32_t)(size * part / parts), high = (uint32_t)(size * (part + 1) / parts);
    by_shape(points.grid, ScatterJob<Layout>{points, level, low, high, g, table});
  });
}

template <class Layout>
bool contract_all(const Points& points, const float* table, const Layout& g, float* dx, int threads) {
  const int dim = points.grid->dim;
  const int64_t blocks = (points.n + kBlock - 1) / kBlock;
  Scratch scratch(dim * points.total);
  if (scratch.failed()) return false;
  float* columns = scratch.get();
  __builtin_memset(columns, 0, dim * points.total * sizeof(float));
  for (int level = 0; level < points.grid->n_levels; level++)
    for_each(threads, blocks, [&](int64_t block) {
      const int64_t begin = block * kBlock, end = begin + kBlock < points.n ? begin + kBlock : points.n;
      by_shape(points.grid, ContractJob<Layout>{points, level, begin, end, table, g, columns});
    });
  for (int64_t p = 0; p < points.n; p++)
    for (int j = 0; j < dim; j++) dx[p * dim + j] = columns[j * points.total + p];
  return true;
}

// Points and direction in columns, in scratch memory.
class Columns {
 public:
  Columns(const nf_grid* grid, int64_t n, const float* x, const float* v, int threads)
      : scratch_((v ? 2 : 1) * grid->dim * padded(n)), points{grid, n, padded(n), scratch_.get(), v ? scratch_.get() + grid->dim * padded(n) : nullptr} {
    if (failed()) return;
    to_columns(x, n, grid->dim, scratch_.get(), threads);
    if (v) to_columns(v, n, grid->dim, scratch_.get() + grid->dim * padded(n), threads);
  }
  bool failed() const { return scratch_.failed(); }

 private:
  Scratch scratch_;

 public:
  const Points points;
};

int grid_gather(const nf_grid* grid, int64_t n, const float* x, const float* table, const float* v, float* out, int threads) {
  Columns columns(grid, n, x, v, threads);
  if (columns.failed()) return -1;
  gather_all(columns.points, table, Rows{out, (int64_t)grid->n_levels * grid->n_features}, threads);
  return 0;
}

int grid_scatter(const nf_grid* grid, int64_t n, const float* x, const float* g, const float* v, float* table, int threads) {
  Columns columns(grid, n, x, v, threads);
  if (columns.failed()) return -1;
  scatter_all(columns.points, Rows{const_cast<float*>(g), (int64_t)grid->n_levels * grid->n_features}, table, threads);
  return 0;
}

int grid_contract(const nf_grid* grid, int64_t n, const float* x, const float* table, const float* g, const float* v, float* dx, int threads) {
  Columns columns(grid, n, x, v, threads);
  if (columns.failed()) return -1;
  return contract_all(columns.points, table, Rows{const_cast<float*>(g), (int64_t)grid->n_levels * grid->n_features}, dx, threads) ? 0 : -1;
}

}  // namespace NF_ISA
