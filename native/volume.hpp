// Along rays: marching through the occupied cells of a box.
#pragma once
#include "neufield.h"
#include "parallel.hpp"

namespace NF_ISA {

constexpr int64_t kRays = 256;  // of a job

// use(start) for each interval of a ray that is kept; see kernels/volume/reference.py.
template <class Use>
inline void march_ray(const nf_march_spec& spec, const float* o, const float* d, float near, float far, float shift, const uint8_t* occupied, const Use& use) {
  const int resolution = spec.resolution;
  if (!((far - near) / spec.step - shift < 1e6f)) return;  // endless, or not a number
  for (int64_t k = 0;; k++) {
    const float start = near + ((float)k + shift) * spec.step, middle = start + 0.5f * spec.step;
    if (!(middle < far)) return;  // a NaN ends the ray too
    if (!(middle > near)) continue;
    int64_t cell = 0;
    for (int j = 0; j < 3; j++) {
      const float x = (o[j] + middle * d[j] - spec.lower[j]) / (spec.upper[j] - spec.lower[j]) * (float)resolution;
      cell = cell * resolution + (x >= (float)resolution ? resolution - 1 : x > 0 ? (int)x : 0);
    }
    if (occupied[cell]) use(start);
  }
}

int march(const nf_march_spec* spec, int64_t n, const float* origins, const float* directions, const float* near, const float* far, const float* shift, const uint8_t* occupied,
          int64_t* counts, const int64_t* first, int64_t* ray_ids, float* starts, int threads) {
  for_each(threads, (n + kRays - 1) / kRays, [=](int64_t job) {
    for (int64_t i = job * kRays; i < n && i < (job + 1) * kRays; i++) {
      int64_t count = 0;
      march_ray(*spec, origins + 3 * i, directions + 3 * i, near[i], far[i], shift[i], occupied, [&](float start) {
        if (!counts) ray_ids[first[i] + count] = i, starts[first[i] + count] = start;
        count++;
      });
      if (counts) counts[i] = count;
    }
  });
  return 0;
}

}  // namespace NF_ISA
