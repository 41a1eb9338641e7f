// One matrix product for all of a network's three: C (M, N) = init + A (M, K) B (K, N).
//
// B and C lie in panels of kPanel columns, one panel after the other and each row by row; the last may be narrower. What a
// block of the product reads and writes is then one piece of memory that the first cache can hold: rows a power of two
// apart would fall on a few of its sets.
#pragma once
#include "simd.hpp"

namespace NF_ISA {

constexpr int kTile = 64;   // points that go through a network together
constexpr int kColumns = 2; // vectors in a row of a block; with kRows they fill the registers
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRows = 12;
#else
constexpr int kRows = 6;
#endif
constexpr int kPanel = kColumns * W;
static_assert(kTile % kPanel == 0 && kPanel % 8 == 0, "transpose() works on 8 x 8");

inline int panel_width(int columns, int n) { return columns - n < kPanel ? columns - n : kPanel; }

// Where element (m, n) lies among `rows` rows and `columns` columns in panels.
inline int64_t in_panels(int64_t rows, int columns, int64_t m, int n) {
  const int first = n / kPanel * kPanel;
  return first * rows + m * panel_width(columns, first) + (n - first);
}

// The same in a tile: (channels, 64) in panels.
inline int64_t in_tile(int64_t channels, int64_t c, int64_t i) { return (i / kPanel * channels + c) * kPanel + i % kPanel; }

// A factor that was packed: for each kRows rows their first column, their second ...
struct Packed {
  const float* data;
  int columns;
  template <int R>
  struct Cursor {
    static constexpr int kRun = 1 << 30;  // columns that follow each other before a jump
    const float* p;
    float at(int r) const { return p[r]; }
    void next() { p += R; }
    void jump() {}
  };
  template <int R>
  Cursor<R> rows(int m) const { return {data + (int64_t)m * columns}; }
};

inline void pack(int rows, int columns, const float* from, bool transposed, float* to) {
  for (int m = 0; m < rows; m += kRows)
    for (int k = 0; k < columns; k++)
      for (int r = m; r < m + kRows && r < rows; r++) *to++ = transposed ? from[(int64_t)k * rows + r] : from[(int64_t)r * columns + k];
}

// A tile as the first factor.
struct TileRows {
  const float* data;
  int channels;
  template <int R>
  struct Cursor {
    static constexpr int kRun = kPanel;
    const float* p;
    int64_t distance;
    float at(int r) const { return p[r * kPanel]; }
    void next() { p++; }
    void jump() { p += distance; }
  };
  template <int R>
  Cursor<R> rows(int m) const { return {data + (int64_t)m * kPanel, (int64_t)(channels - 1) * kPanel}; }
};

enum class Start { zero, bias, add };  // C starts at 0, at bias[m], or at what it holds

// Zeros that the compiler makes where they are used: kept from before a product's loop, they would cost it a register.
inline vf late_zeros() {
  float zero = 0;
#if defined(__GNUC__) && defined(__x86_64__)
  asm volatile("" : "+x"(zero));
#endif
  return splat(zero);
}

// What is done to a sum before it is stored; `at` is its place in C.
struct AsIs {
  vf operator()(vf sum, int64_t) const { return sum; }
};
struct Relu {
  vf operator()(vf sum, int64_t) const { const vf zeros = late_zeros(); return sum < zeros ? zeros : sum; }  // a NaN stays one
};
struct WhereActive {  // the derivative of a ReLU that gave `after`
  const float* after;
  vf operator()(vf sum, int64_t at) const { const vf zeros = late_zeros(); return load(after + at) <= zeros ? zeros : sum; }  // as PyTorch at a NaN
};

template <int R, int V, class Cursor, class Finish>
inline void block(int K, Cursor a, const float* b, int64_t ldb, float* c, int64_t at, int64_t ldc, Start start, const float* bias, const Finish& finish) {
  vf sum[R][V];
#pragma GCC unroll 12
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sum[r][v] = start == Start::add ? load(c + at + r * ldc + v * W) : start == Start::bias ? splat(bias[r]) : vf{};
  for (int left = K; left > 0; left -= Cursor::kRun, a.jump())
    for (int k = left < Cursor::kRun ? left : Cursor::kRun; k > 0; k--, a.next(), b += ldb) {
      vf row[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) row[v] = load(b + v * W);
#pragma GCC unroll 12
      for (int r = 0; r < R; r++) {
        const vf scalar = splat(a.at(r));
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) sum[r][v] += scalar * row[v];
      }
    }
#pragma GCC unroll 12
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) store(c + at + r * ldc + v * W, finish(sum[r][v], at + r * ldc + v * W));
}

// The rows from m on that do not fill a block.
template <int R, int V, class A, class Finish>
inline void last_rows(int M, int m, int K, const A& a, const float* b, int64_t ldb, float* c, int64_t at, int64_t ldc, Start start, const float* bias, const Finish& finish) {
  if constexpr (R > 0) {
    if (M - m == R) return block<R, V>(K, a.template rows<R>(m), b, ldb, c, at + m * ldc, ldc, start, bias + m, finish);
    return last_rows<R - 1, V>(M, m, K, a, b, ldb, c, at, ldc, start, bias, finish);
  }
}

template <int V, class A, class Finish>
inline void columns_block(int M, int K, const A& a, const float* b, int64_t ldb, float* c, int64_t at, int64_t ldc, Start start, const float* bias, const Finish& finish) {
  int m = 0;
  for (; m + kRows <= M; m += kRows) block<kRows, V>(K, a.template rows<kRows>(m), b, ldb, c, at + m * ldc, ldc, start, bias + m, finish);
  last_rows<kRows - 1, V>(M, m, K, a, b, ldb, c, at, ldc, start, bias, finish);
}

// N a multiple of W. c_rows: the rows of a panel of C, of which the first M are written.
template <class A, class Finish = AsIs>
inline void gemm(int M, int N, int K, const A& a, const float* b, float* c, int64_t c_rows, Start start, const float* bias = nullptr, const Finish& finish = {}) {
  for (int n = 0; n < N; n += kPanel) {
    const int width = panel_width(N, n);
    const float* panel = b + (int64_t)n * K;
    if (width == kPanel)
      columns_block<kColumns>(M, K, a, panel, width, c, n * c_rows, width, start, bias, finish);
    else
      for (int v = 0; v < width; v += W) columns_block<1>(M, K, a, panel + v, width, c, n * c_rows + v, width, start, bias, finish);
  }
}

// to (columns, ld) = transpose of from (rows, columns), for columns a multiple of 8; what is beyond `rows` becomes 0.
inline void transpose(int rows, int columns, const float* from, int64_t ldfrom, float* to, int64_t ld) {
  int r = 0;
#if defined(__AVX2__)
  for (; r + 8 <= rows; r += 8)
    for (int c = 0; c < columns; c += 8) {
      __m256 a[8], b[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) a[i] = _mm256_loadu_ps(from + (r + i) * ldfrom + c);
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) b[2 * i] = _mm256_unpacklo_ps(a[2 * i], a[2 * i + 1]), b[2 * i + 1] = _mm256_unpackhi_ps(a[2 * i], a[2 * i + 1]);
#pragma GCC unroll 2
      for (int i = 0; i < 2; i++) {
        a[4 * i] = _mm256_shuffle_ps(b[4 * i], b[4 * i + 2], 0x44), a[4 * i + 1] = _mm256_shuffle_ps(b[4 * i], b[4 * i + 2], 0xee);
        a[4 * i + 2] = _mm256_shuffle_ps(b[4 * i + 1], b[4 * i + 3], 0x44), a[4 * i + 3] = _mm256_shuffle_ps(b[4 * i + 1], b[4 * i + 3], 0xee);
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(to + (c + i) * ld + r, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
        _mm256_storeu_ps(to + (c + i + 4) * ld + r, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
      }
    }
#endif
  for (; r < rows; r++)
    for (int c = 0; c < columns; c++) to[c * ld + r] = from[r * ldfrom + c];
  for (; r < ld; r++)
    for (int c = 0; c < columns; c++) to[c * ld + r] = 0;
}

// tile (channels, 64) -> (64, columns), both in panels; zero beyond `channels`.
inline void transpose_tile(int channels, const float* tile, int columns, float* to) {
  for (int n = 0; n < columns; n += kPanel) {
    const int width = panel_width(columns, n), rows = channels - n < width ? channels - n : width;
    for (int i = 0; i < kTile; i += kPanel) transpose(rows, kPanel, tile + in_tile(channels, n, i), kPanel, to + (int64_t)n * kTile + (int64_t)i * width, width);
  }
}

}  // namespace NF_ISA
