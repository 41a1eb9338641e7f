// What a machine can do at best: arithmetic, copying, random reads and random additions. Called by floors.py.
#include <omp.h>
#include <stdint.h>
#include <string.h>

namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
typedef float Vector __attribute__((vector_size(kBytes)));
typedef float Pair __attribute__((vector_size(8)));

constexpr int kChains = 12;  // independent multiply-adds in flight; two units of latency 4 need 8
constexpr int kPool = 2048;  // random row numbers; small, so that reading them costs nothing

struct Rows {
  uint32_t pool[kPool];
  explicit Rows(uint32_t seed) {
    for (auto& row : pool) row = (seed = seed * 1664525u + 1013904223u) >> 8;
  }
};

uint32_t fresh(uint32_t turn, uint32_t mask) { return (turn * 2654435761u ^ turn * 40503u >> 7) & mask; }

}  // namespace

extern "C" {

int64_t width() { return kBytes / 4; }

// Multiply-adds done by all threads together are threads * rounds * kChains * width(); returns kChains.
int64_t multiply_add(int64_t rounds, int threads, float* sink) {
#pragma omp parallel num_threads(threads)
  {
    Vector a, b;
    for (int i = 0; i < kBytes / 4; i++) a[i] = 0.999f, b[i] = 0.001f;
    // Not an array: the compiler would keep it in memory.
    Vector c0 = b, c1 = b + c0, c2 = b + c1, c3 = b + c2, c4 = b + c3, c5 = b + c4;
    Vector c6 = b + c5, c7 = b + c6, c8 = b + c7, c9 = b + c8, c10 = b + c9, c11 = b + c10;
    for (int64_t round = 0; round < rounds; round++) {
      c0 = c0 * a + b, c1 = c1 * a + b, c2 = c2 * a + b, c3 = c3 * a + b, c4 = c4 * a + b, c5 = c5 * a + b;
      c6 = c6 * a + b, c7 = c7 * a + b, c8 = c8 * a + b, c9 = c9 * a + b, c10 = c10 * a + b, c11 = c11 * a + b;
    }
    const Vector all = c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11;
    float total = 0;
    for (int i = 0; i < kBytes / 4; i++) total += all[i];
#pragma omp atomic
    *sink += total;
  }
  return kChains;
}

void copy(char* to, const char* from, int64_t bytes, int threads) {
#pragma omp parallel num_threads(threads)
  {
    int64_t part = bytes / omp_get_num_threads(), start = part * omp_get_thread_num();
    memcpy(to + start, from + start, part);
  }
}

// Reads turns * 2048 random 8-byte rows in each thread, from a table of rows (a power of two) entries.
void gather(const uint64_t* table, int64_t rows, int64_t turns, int threads, uint64_t* sink) {
#pragma omp parallel num_threads(threads)
  {
    Rows random(omp_get_thread_num() + 1);
    const uint32_t mask = (uint32_t)rows - 1;
    for (auto& row : random.pool) row &= mask;
    uint64_t sum[4] = {};
    for (int64_t turn = 0; turn < turns; turn++) {
      const uint32_t shift = fresh((uint32_t)turn, mask);
      for (int i = 0; i < kPool; i += 4)
        for (int k = 0; k < 4; k++) {
          sum[k] += table[random.pool[i + k] ^ shift];
          asm volatile("" : "+r"(sum[k]));  // scalar loads, as the kernels have them
        }
    }
#pragma omp atomic
    *sink += sum[0] + sum[1] + sum[2] + sum[3];
  }
}

// Adds to turns * 2048 random rows of two floats in each thread, each thread in a part of the table of its own.
void scatter(float* table, int64_t rows, int64_t turns, int threads) {
#pragma omp parallel num_threads(threads)
  {
    int64_t part = rows;
    while (part * omp_get_num_threads() > rows) part /= 2;
    Rows random(omp_get_thread_num() + 1);
    const uint32_t mask = (uint32_t)part - 1;
    for (auto& row : random.pool) row &= mask;
    Pair* own = (Pair*)table + part * omp_get_thread_num();
    const Pair one = {1, 2};
    for (int64_t turn = 0; turn < turns; turn++) {
      const uint32_t shift = fresh((uint32_t)turn, mask);
      for (int i = 0; i < kPool; i++) own[random.pool[i] ^ shift] += one;
    }
  }
}
}
