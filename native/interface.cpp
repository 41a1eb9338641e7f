// The C interface: chooses an instruction set once, and calls through its table.
#include <stdlib.h>
#include <string.h>

#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "table.hpp"
#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(NF_HAVE_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

extern const Kernels nf_kernels_portable;
#if defined(NF_HAVE_AVX2)
extern const Kernels nf_kernels_avx2;
#endif
#if defined(NF_HAVE_AVX512)
extern const Kernels nf_kernels_avx512;
#endif
#if defined(NF_HAVE_AVX512BF16)
extern const Kernels nf_kernels_avx512bf16;
#endif
#if defined(NF_HAVE_AMX)
extern const Kernels nf_kernels_amx;
#endif

namespace {

struct Choice {
  const char* name;
  const Kernels* kernels;
  bool bf16;  // in hardware
};

#if defined(NF_HAVE_AMX)
// The processor has the tiles, the system saves them, and lets this process use them.
bool amx_usable() {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 22 & 1) || !(d >> 24 & 1)) return false;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned kTileState = 3u << 17;
  if ((low & kTileState) != kTileState) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

std::vector<Choice> find_choices() {
  std::vector<Choice> choices{{"portable", &nf_kernels_portable, false}};
#if defined(NF_HAVE_AVX2)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) choices.push_back({"avx2", &nf_kernels_avx2, false});
#endif
#if defined(NF_HAVE_AVX512)
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (avx512) choices.push_back({"avx512", &nf_kernels_avx512, false});
#endif
#if defined(NF_HAVE_AVX512BF16)
  const bool avx512bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
  if (avx512bf16) choices.push_back({"avx512bf16", &nf_kernels_avx512bf16, true});
#endif
#if defined(NF_HAVE_AMX)
  if (avx512bf16 && amx_usable()) choices.push_back({"amx", &nf_kernels_amx, true});
#endif
  return choices;
}

const std::vector<Choice>& choices() {
  static const std::vector<Choice> found = find_choices();
  return found;
}

const Choice* chosen = nullptr;

const Kernels* kernels() {
  if (!chosen) chosen = &choices().back();
  return chosen->kernels;
}

// Freed blocks wait here for the next call: fresh pages cost more than the arithmetic done in them.
struct Block {
  void* data;
  size_t bytes;
  bool lent;
};
std::mutex blocks_mutex;
std::vector<Block> blocks;
constexpr size_t kKept = (size_t)1 << 30;

bool forked = false;

}  // namespace

extern "C" {

void* nf_borrow(size_t bytes) {
  bytes = (bytes + 4095) / 4096 * 4096 + 4096;
  const std::lock_guard<std::mutex> lock(blocks_mutex);
  Block* best = nullptr;
  for (Block& block : blocks)
    if (!block.lent && block.bytes >= bytes && block.bytes <= 4 * bytes && (!best || block.bytes < best->bytes)) best = &block;
  if (!best) {
    void* data = aligned_alloc(4096, bytes);
    if (!data) return nullptr;
    blocks.push_back({data, bytes, false});
    best = &blocks.back();
  }
  best->lent = true;
  return best->data;
}

void nf_return(void* data) {
  const std::lock_guard<std::mutex> lock(blocks_mutex);
  size_t kept = 0;
  for (Block& block : blocks) {
    if (block.data == data) block.lent = false;
    kept += block.bytes;
  }
  for (size_t i = 0; kept > kKept && i < blocks.size();) {
    if (blocks[i].lent) {
      i++;
      continue;
    }
    kept -= blocks[i].bytes;
    free(blocks[i].data);
    blocks.erase(blocks.begin() + i);
  }
}

int nf_team(int threads) { return forked ? 1 : threads; }

const char* nf_isas(void) {
  static const std::string names = [] {
    std::string all;
    for (const Choice& choice : choices()) all += (all.empty() ? "" : ",") + std::string(choice.name);
    return all;
  }();
  return names.c_str();
}

int nf_use_isa(const char* name) {
  for (const Choice& choice : choices())
    if (!strcmp(choice.name, name)) {
      chosen = &choice;
      return 0;
    }
  return -1;
}

const char* nf_isa(void) {
  kernels();
  return chosen->name;
}

int nf_has_bf16(void) {
  kernels();
  return chosen->bf16;
}

int nf_grid_gather(const nf_grid* grid, int64_t n, const float* x, const float* table, const float* v, float* out, int threads) {
  return kernels()->grid_gather(grid, n, x, table, v, out, threads);
}

int nf_grid_scatter(const nf_grid* grid, int64_t n, const float* x, const float* g, const float* v, float* table, int threads) {
  return kernels()->grid_scatter(grid, n, x, g, v, table, threads);
}

int nf_grid_contract(const nf_grid* grid, int64_t n, const float* x, const float* table, const float* g, const float* v, float* dx, int threads) {
  return kernels()->grid_contract(grid, n, x, table, g, v, dx, threads);
}

int nf_field_forward(const nf_encoding* encoding, const nf_mlp* mlp, int64_t n, const float* x, const float* table, const float* params, float* features, float* y, int threads) {
  return kernels()->field_forward(encoding, mlp, n, x, table, params, features, y, threads);
}

int nf_field_backward(const nf_encoding* encoding, const nf_mlp* mlp, int64_t n, const float* x, const float* table, const float* params, const float* features, const float* gy,
                      float* dx, float* dtable, float* dparams, int threads) {
  return kernels()->field_backward(encoding, mlp, n, x, table, params, features, gy, dx, dtable, dparams, threads);
}

int nf_field_regression(const nf_encoding* encoding, const nf_mlp* mlp, int64_t n, const float* x, const float* table, const float* params, const float* target, const float* weight,
                        int loss, float* error, float* dtable, float* dparams, int threads) {
  return kernels()->field_regression(encoding, mlp, n, x, table, params, target, weight, loss, error, dtable, dparams, threads);
}

int nf_march(const nf_march_spec* spec, int64_t n, const float* origins, const float* directions, const float* near, const float* far, const float* shift,
             const uint8_t* occupied, int64_t* counts, const int64_t* first, int64_t* ray_ids, float* starts, int threads) {
  return kernels()->march(spec, n, origins, directions, near, far, shift, occupied, counts, first, ray_ids, starts, threads);
}

void* nf_radiance_scout(const nf_radiance* spec, int64_t n, const float* origins, const float* directions, const float* near, const float* far, const float* shift,
                        const uint8_t* occupied, const float* table, const float* params, int keep, int64_t* marched, int64_t* kept, int threads) {
  return kernels()->radiance_scout(spec, n, origins, directions, near, far, shift, occupied, table, params, keep, marched, kept, threads);
}

int nf_radiance_settle(const nf_radiance* spec, void* found, int64_t n, int64_t kept, int64_t* ray_ids, float* starts, float* x, float* features, float* y, int threads) {
  return kernels()->radiance_settle(spec, found, n, kept, ray_ids, starts, x, features, y, threads);
}

int nf_radiance_shade(const nf_radiance* spec, int64_t n, int64_t kept, const int64_t* ray_ids, const float* starts, const float* y, const float* directions, const float* seen,
                      const float* color_params, float* colors, float* weights, float* rgb, float* opacity, float* distance, int threads) {
  return kernels()->radiance_shade(spec, n, kept, ray_ids, starts, y, directions, seen, color_params, colors, weights, rgb, opacity, distance, threads);
}

int nf_radiance_backward(const nf_radiance* spec, int64_t n, int64_t kept, const int64_t* ray_ids, const float* starts, const float* x, const float* features, const float* y,
                         const float* directions, const float* seen, const float* colors, const float* weights, const float* params, const float* color_params, const float* drgb, const float* dopacity,
                         const float* ddistance, const float* dweights, float* dseen, float* dtable, float* dparams, float* dcolor_params, int threads) {
  return kernels()->radiance_backward(spec, n, kept, ray_ids, starts, x, features, y, directions, seen, colors, weights, params, color_params, drgb, dopacity, ddistance, dweights, dseen,
                                      dtable, dparams, dcolor_params, threads);
}

}  // extern "C"

#if !defined(_WIN32)
namespace {
// A child has no pool, and perhaps a lock that a thread of its parent held.
[[maybe_unused]] const int watch_forks = pthread_atfork(nullptr, nullptr, [] {
  forked = true;
  new (&blocks_mutex) std::mutex;
});
}
#endif
