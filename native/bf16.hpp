// Matrix products of bfloat16 factors with float32 sums: AMX tiles, AVX512-BF16 dot products, or, on the other
// instruction sets, the same arithmetic in float32 (slow: it is there so that the tests can run anywhere).
//
// A is (M, K) row-major; B holds pairs of rows: (K / 2, N, 2), one 32-bit unit a column; C is in panels. M and N are
// multiples of 16, K of 32. C may have fewer than M rows, where A's are 0 beyond them: panel by panel, what is written
// below one is overwritten, or had 0 added, when the next one's turn comes.
#pragma once
#include "gemm.hpp"

namespace NF_ISA {

typedef uint16_t half;
typedef uint32_t unit __attribute__((may_alias));  // two bfloat16

inline int round_up(int n, int to) { return (n + to - 1) / to * to; }

// To bfloat16, rounded to nearest even; the result is in the upper half, the lower is 0.
inline vu rounded(vf a) {
  const vu bits = (vu)a;
  const vu up = bits + 0x7fffu + ((bits >> 16) & 1u);
  return (a == a ? up : (bits | 0x400000u)) & 0xffff0000u;  // a NaN stays one
}

// Rows 2k and 2k + 1 of a tile (rows, 64) side by side: to (K / 2, 64) units, zero beyond `rows`.
inline void pack_pairs(int rows, int K, const float* from, half* to) {
  unit* units = (unit*)to;
  for (int k = 0; k < K; k += 2)
    for (int i = 0; i < 64; i += W) {
      const vu low = k < rows ? rounded(load(from + in_tile(rows, k, i))) >> 16 : vu{};
      const vu high = k + 1 < rows ? rounded(load(from + in_tile(rows, k + 1, i))) : vu{};
      store((uint32_t*)units + k / 2 * 64 + i, low | high);
    }
}

// A tile (rows, 64) to bfloat16 (M, 64), zero beyond `rows`.
inline void pack_rows(int rows, int M, const float* from, half* to) {
  alignas(64) uint32_t bits[W];
  for (int r = 0; r < M; r++)
    for (int i = 0; i < 64; i += W) {
      store(bits, r < rows ? rounded(load(from + in_tile(rows, r, i))) >> 16 : vu{});
      for (int lane = 0; lane < W; lane++) to[r * 64 + i + lane] = (half)bits[lane];
    }
}

inline half to_half(float a) {
  vf v{};
  v[0] = a;
  return (half)(rounded(v)[0] >> 16);
}

// weight (rows, columns) to bfloat16 (M, K), and its transpose to (K', M'): zero in the padding.
inline void pack_weight(int rows, int columns, const float* weight, int M, int K, half* to, bool transposed) {
  for (int m = 0; m < M; m++)
    for (int k = 0; k < K; k++) {
      const int r = transposed ? k : m, c = transposed ? m : k;
      to[m * K + k] = r < rows && c < columns ? to_half(weight[r * columns + c]) : 0;
    }
}

#if defined(NF_AMX)
// The registers of 16 rows of 64 bytes each, for the length of a job. Written in assembler, with "memory" clobbers: the
// intrinsics of GCC 12 do not say what memory they read.
struct TileRegisters {
  TileRegisters() {
    alignas(64) static const struct {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    asm volatile("ldtilecfg (%0)" ::"r"(&config) : "memory");
  }
  ~TileRegisters() { asm volatile("tilerelease" ::: "memory"); }
};
#define NF_TILE_LOAD(t, base, stride) asm volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(base), "r"((int64_t)(stride)) : "memory")
#define NF_TILE_STORE(t, base, stride) asm volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(base), "r"((int64_t)(stride)) : "memory")
#define NF_TILE_ZERO(t) asm volatile("tilezero %%tmm" #t ::: "memory")
#define NF_TILE_DOT(c, a, b) asm volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::: "memory")

inline void product(int M, int N, int K, const half* a, int64_t lda, const half* b, int64_t ldb, float* c, int64_t c_rows, bool add) {
  static_assert(kPanel == 32);
  for (int n = 0; n < N; n += 32)
    for (int m = 0; m < M; m += 32) {
      const bool below = m + 16 < M, right = n + 16 < N;
      const int width = panel_width(N, n);
      const int64_t row = width * 4;
      float *c00 = c + in_panels(c_rows, N, m, n), *c10 = c00 + 16 * width;
      if (add) {
        NF_TILE_LOAD(0, c00, row);
        if (right) NF_TILE_LOAD(1, c00 + 16, row);
        if (below) NF_TILE_LOAD(2, c10, row);
        if (below && right) NF_TILE_LOAD(3, c10 + 16, row);
      } else {
        NF_TILE_ZERO(0);
        NF_TILE_ZERO(1);
        NF_TILE_ZERO(2);
        NF_TILE_ZERO(3);
      }
      for (int k = 0; k < K; k += 32) {
        NF_TILE_LOAD(4, a + m * lda + k, lda * 2);
        NF_TILE_LOAD(6, b + k * ldb + 2 * n, ldb * 4);
        NF_TILE_DOT(0, 4, 6);
        if (right) {
          NF_TILE_LOAD(7, b + k * ldb + 2 * n + 32, ldb * 4);
          NF_TILE_DOT(1, 4, 7);
        }
        if (below) {
          NF_TILE_LOAD(5, a + (m + 16) * lda + k, lda * 2);
          NF_TILE_DOT(2, 5, 6);
          if (right) NF_TILE_DOT(3, 5, 7);
        }
      }
      NF_TILE_STORE(0, c00, row);
      if (right) NF_TILE_STORE(1, c00 + 16, row);
      if (below) NF_TILE_STORE(2, c10, row);
      if (below && right) NF_TILE_STORE(3, c10 + 16, row);
    }
}
#else
struct TileRegisters {
  TileRegisters() {}
  ~TileRegisters() {}
};

#if !defined(__AVX512BF16__)
inline float upper(unit pair) {
  const uint32_t bits = pair & 0xffff0000u;
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}
#endif

inline void product(int M, int N, int K, const half* a, int64_t lda, const half* b, int64_t ldb, float* c, int64_t c_rows, bool add) {
#if defined(__AVX512BF16__)
  constexpr int R = 8;  // M is a multiple of 16
  for (int n = 0; n < N; n += 16)
    for (int m = 0; m < M; m += R) {
      float* at = c + in_panels(c_rows, N, m, n);
      const int width = panel_width(N, n / kPanel * kPanel);
      __m512 sum[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) sum[r] = add ? _mm512_loadu_ps(at + r * width) : _mm512_setzero_ps();
      for (int k = 0; k < K; k += 2) {
        const __m512bh row = (__m512bh)_mm512_loadu_si512(b + k * ldb + 2 * n);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
          const int pair = *(const int __attribute__((may_alias))*)(a + (m + r) * lda + k);
          sum[r] = _mm512_dpbf16_ps(sum[r], (__m512bh)_mm512_set1_epi32(pair), row);
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) _mm512_storeu_ps(at + r * width, sum[r]);
    }
#else
  for (int n = 0; n < N; n++)
    for (int m = 0; m < M; m++) {
      float& to = c[in_panels(c_rows, N, m, n)];
      float sum = add ? to : 0.0f;
      for (int k = 0; k < K; k += 2) {
        const unit x = *(const unit*)(a + m * lda + k), y = *(const unit*)(b + k * ldb + 2 * n);
        sum += upper(x << 16) * upper(y << 16);
        sum += upper(x) * upper(y);
      }
      to = sum;
    }
#endif
}
#endif

}  // namespace NF_ISA
