// Float vectors of the instruction set that this file is compiled for; the kernels are written once, over these.
#pragma once
#include <stdint.h>
#include <stddef.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace NF_ISA {

#if !defined(NF_WIDTH)  // given, it tries the code of wider vectors on a processor that has narrower ones
#if defined(__AVX512F__)
#define NF_WIDTH 16
#elif defined(__AVX2__)
#define NF_WIDTH 8
#else
#define NF_WIDTH 4
#endif
#endif
constexpr int W = NF_WIDTH;
#if defined(__AVX512F__) && NF_WIDTH == 16
#define NF_AVX512
#elif defined(__AVX2__) && NF_WIDTH == 8
#define NF_AVX2
#endif

typedef float vf __attribute__((vector_size(W * 4)));
typedef int32_t vi __attribute__((vector_size(W * 4)));
typedef uint32_t vu __attribute__((vector_size(W * 4)));
// Through these types memory is read and written without alignment or aliasing assumptions. (A memcpy into a vector is
// ten times slower in GCC 12.)
typedef float vf_memory __attribute__((vector_size(W * 4), aligned(4), may_alias));
typedef uint32_t vu_memory __attribute__((vector_size(W * 4), aligned(4), may_alias));
typedef float pair __attribute__((vector_size(8)));
typedef float pair_memory __attribute__((vector_size(8), aligned(4), may_alias));

inline vf load(const float* p) { return *(const vf_memory*)p; }
inline void store(float* p, vf v) { *(vf_memory*)p = v; }
inline void store(uint32_t* p, vu v) { *(vu_memory*)p = v; }
inline vf splat(float a) { return a - vf{}; }

inline vf floor(vf a) {
#if defined(NF_AVX512)
  return (vf)_mm512_roundscale_ps((__m512)a, 0x09);
#elif defined(NF_AVX2)
  return (vf)_mm256_floor_ps((__m256)a);
#else
  const vf t = __builtin_convertvector(__builtin_convertvector(a, vi), vf), down = t > a ? t - 1.0f : t;
  return a > -8388608.0f && a < 8388608.0f ? down : a;  // from 2^23 on every float is whole
#endif
}

inline vf sqrt(vf a) {
#if defined(NF_AVX512)
  return (vf)_mm512_sqrt_ps((__m512)a);
#elif defined(NF_AVX2)
  return (vf)_mm256_sqrt_ps((__m256)a);
#else
  vf r;
  for (int i = 0; i < W; i++) r[i] = __builtin_sqrtf(a[i]);
  return r;
#endif
}

inline vi to_int(vf a) { return __builtin_convertvector(a, vi); }
inline vf to_float(vi a) { return __builtin_convertvector(a, vf); }

// scale * x + 0.5 with one rounding.
inline vf position(vf x, float scale) {
#if defined(NF_AVX512)
  return (vf)_mm512_fmadd_ps((__m512)x, _mm512_set1_ps(scale), _mm512_set1_ps(0.5f));
#elif defined(NF_AVX2)
  return (vf)_mm256_fmadd_ps((__m256)x, _mm256_set1_ps(scale), _mm256_set1_ps(0.5f));
#else
  vf r;
  for (int i = 0; i < W; i++) r[i] = (float)((double)x[i] * scale + 0.5);  // the product is exact in double
  return r;
#endif
}

inline bool any(vi mask) {
#if defined(NF_AVX512)
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(NF_AVX2)
  return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#else
  int32_t all = 0;
  for (int i = 0; i < W; i++) all |= mask[i];
  return all != 0;
#endif
}

inline float sum(vf a) {
  float s = 0;
  for (int i = 0; i < W; i++) s += a[i];
  return s;
}

// (a0 b0 a1 b1), (a2 b2 a3 b3) in each group of four lanes, and back.
#if NF_WIDTH == 16
#define NF_LOW 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define NF_HIGH 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define NF_EVEN 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30
#define NF_ODD 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31
#elif NF_WIDTH == 8
#define NF_LOW 0, 8, 1, 9, 4, 12, 5, 13
#define NF_HIGH 2, 10, 3, 11, 6, 14, 7, 15
#define NF_EVEN 0, 2, 8, 10, 4, 6, 12, 14
#define NF_ODD 1, 3, 9, 11, 5, 7, 13, 15
#else
#define NF_LOW 0, 4, 1, 5
#define NF_HIGH 2, 6, 3, 7
#define NF_EVEN 0, 2, 4, 6
#define NF_ODD 1, 3, 5, 7
#endif
inline vf interleave_low(vf a, vf b) { return __builtin_shufflevector(a, b, NF_LOW); }
inline vf interleave_high(vf a, vf b) { return __builtin_shufflevector(a, b, NF_HIGH); }
inline vf even(vf low, vf high) { return __builtin_shufflevector(low, high, NF_EVEN); }
inline vf odd(vf low, vf high) { return __builtin_shufflevector(low, high, NF_ODD); }

typedef double vpairs __attribute__((vector_size(W * 4)));
typedef double pair_bits __attribute__((aligned(4), may_alias));

// Rows of two floats each: a[i] = table[2 r[i]], b[i] = table[2 r[i] + 1]. (Scalar loads: the hardware's gather
// was no faster on any machine tried.)
inline void load_pairs(const float* table, const uint32_t* r, vf& a, vf& b) {
#define NF_ROW(i) (*(const pair_bits*)(table + 2 * (size_t)r[i]))
#if NF_WIDTH == 16
  vpairs low = {NF_ROW(0), NF_ROW(1), NF_ROW(4), NF_ROW(5), NF_ROW(8), NF_ROW(9), NF_ROW(12), NF_ROW(13)};
  vpairs high = {NF_ROW(2), NF_ROW(3), NF_ROW(6), NF_ROW(7), NF_ROW(10), NF_ROW(11), NF_ROW(14), NF_ROW(15)};
#elif NF_WIDTH == 8
  vpairs low = {NF_ROW(0), NF_ROW(1), NF_ROW(4), NF_ROW(5)};
  vpairs high = {NF_ROW(2), NF_ROW(3), NF_ROW(6), NF_ROW(7)};
#else
  vpairs low = {NF_ROW(0), NF_ROW(1)};
  vpairs high = {NF_ROW(2), NF_ROW(3)};
#endif
#undef NF_ROW
  a = even((vf)low, (vf)high);
  b = odd((vf)low, (vf)high);
}

// table[2 r[i]] += a[i] and table[2 r[i] + 1] += b[i], lane after lane.
inline void add_pairs(float* table, const uint32_t* r, vf a, vf b) {
  alignas(64) float low[W], high[W];
  store(low, interleave_low(a, b));
  store(high, interleave_high(a, b));
  for (int i = 0; i < W; i++) {
    const float* value = (i & 2 ? high : low) + (i >> 2) * 4 + (i & 1) * 2;
    pair_memory* row = (pair_memory*)(table + 2 * (size_t)r[i]);
    *row = *row + *(const pair_memory*)value;
  }
}

// The same sums in the same order, for the rows in [begin, end) alone.
inline void add_pairs_within(uint32_t begin, uint32_t end, float* table, const uint32_t* r, vf a, vf b) {
  alignas(64) float a_lanes[W], b_lanes[W];
  store(a_lanes, a);
  store(b_lanes, b);
  for (int i = 0; i < W; i++)
    if (r[i] >= begin && r[i] < end) {
      table[2 * (size_t)r[i]] += a_lanes[i];
      table[2 * (size_t)r[i] + 1] += b_lanes[i];
    }
}

// Sine and cosine to about 1 ulp for |x| < 8192: Cody-Waite reduction by pi/2 in three parts, Cephes' polynomials.
// Beyond, lane by lane with the C library.
inline void sincos(vf x, vf& s, vf& c) {
  vf q = floor(x * 0.63661977236758134f + 0.5f);
  vi n = to_int(q);
  vf r = x - q * 1.5703125f;
  r = r - q * 4.837512969970703125e-4f;
  r = r - q * 7.5497899548918821e-8f;
  vf z = r * r;
  vf sr = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * r + r;
  vf cr = ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z - 0.5f * z + 1.0f;
  vi swap = (n & 1) != 0;
  vf ss = swap ? cr : sr, cc = swap ? sr : cr;
  s = (n & 2) != 0 ? -ss : ss;
  c = ((n + 1) & 2) != 0 ? -cc : cc;
  vi far = !(x < 8192.0f && x > -8192.0f);
  if (__builtin_expect(any(far), 0))
    for (int i = 0; i < W; i++)
      if (far[i]) s[i] = __builtin_sinf(x[i]), c[i] = __builtin_cosf(x[i]);
}

// e^x to about 2 ulp, 0 and infinity at the ends (Cephes).
inline vf exp(vf x) {
  vf clamped = x > 88.0f ? splat(88.0f) : x;
  clamped = clamped < -87.0f ? splat(-87.0f) : clamped;
  vf q = floor(clamped * 1.44269504088896341f + 0.5f);
  vf r = clamped - q * 0.693359375f;
  r = r + q * 2.12194440e-4f;
  vf y = ((((1.9875691500e-4f * r + 1.3981999507e-3f) * r + 8.3334519073e-3f) * r + 4.1665795894e-2f) * r + 1.6666665459e-1f) * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  return y * (vf)((to_int(q) + 127) << 23);  // a NaN comes through y
}

}  // namespace NF_ISA
