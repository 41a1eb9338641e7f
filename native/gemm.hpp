// One matrix product for all of a network's three: C (M, N) = init + A (M, K) B (K, N), with A read through two
// strides, so that a transposed A costs nothing. N is a multiple of W.
#pragma once
#include "simd.hpp"

namespace NF_ISA {

#if defined(__AVX512F__) || defined(__aarch64__)  // 32 registers
constexpr int kColumns = 4;
#else
constexpr int kColumns = 2;
#endif
constexpr int kRows = 6;

struct Strided {
  const float* data;
  int64_t row, column;
};

enum class Start { zero, bias, add };  // C starts at 0, at bias[m], or at what it holds

template <int R, int V>
inline void block(int K, const Strided& a, const float* b, int64_t ldb, float* c, int64_t ldc, Start start, const float* bias) {
  vf sum[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) sum[r][v] = start == Start::add ? load(c + r * ldc + v * W) : start == Start::bias ? splat(bias[r]) : vf{};
  const float* ak = a.data;
  for (int k = 0; k < K; k++, ak += a.column, b += ldb) {
    vf row[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) row[v] = load(b + v * W);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const vf scalar = splat(ak[r * a.row]);
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) sum[r][v] += scalar * row[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) store(c + r * ldc + v * W, sum[r][v]);
}

template <int V>
inline void columns_block(int M, int K, Strided a, const float* b, int64_t ldb, float* c, int64_t ldc, Start start, const float* bias) {
  int m = 0;
  for (; m + kRows <= M; m += kRows) block<kRows, V>(K, {a.data + m * a.row, a.row, a.column}, b, ldb, c + m * ldc, ldc, start, bias + m);
  const Strided rest{a.data + m * a.row, a.row, a.column};
  switch (M - m) {
    case 1: return block<1, V>(K, rest, b, ldb, c + m * ldc, ldc, start, bias + m);
    case 2: return block<2, V>(K, rest, b, ldb, c + m * ldc, ldc, start, bias + m);
    case 3: return block<3, V>(K, rest, b, ldb, c + m * ldc, ldc, start, bias + m);
    case 4: return block<4, V>(K, rest, b, ldb, c + m * ldc, ldc, start, bias + m);
    case 5: return block<5, V>(K, rest, b, ldb, c + m * ldc, ldc, start, bias + m);
  }
}

inline void gemm(int M, int N, int K, const Strided& a, const float* b, int64_t ldb, float* c, int64_t ldc, Start start, const float* bias = nullptr) {
  int n = 0;
  for (; n + kColumns * W <= N; n += kColumns * W) columns_block<kColumns>(M, K, a, b + n, ldb, c + n, ldc, start, bias);
  for (; n < N; n += W) columns_block<1>(M, K, a, b + n, ldb, c + n, ldc, start, bias);
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
  for (int c = 0; c < columns; c++)
    for (int i = r; i < ld; i++) to[c * ld + i] = i < rows ? from[i * ldfrom + c] : 0.0f;
}

}  // namespace NF_ISA
