// Along rays: marching through the occupied cells of a space.
#pragma once
#include "neufield.h"
#include "parallel.hpp"
#include "simd.hpp"

namespace NF_ISA {

constexpr int64_t kRays = 256;      // of a job
constexpr float kEndless = 1e6f;    // steps

struct Rays {
  int64_t n;
  const float *origins, *directions, *near, *far, *shift;
};

// The interval that starts there is so long; see kernels/volume/spec.py.
inline float length_at(const nf_march_spec& spec, float start) {
  const float grown = spec.cone * start;
  return grown > spec.step ? grown : spec.step;
}
inline vf length_at(const nf_march_spec& spec, vf start) {
  const vf grown = spec.cone * start;
  return grown > spec.step ? grown : splat(spec.step);
}

// World points, an axis each, in the coordinates of the unit box.
inline void to_unit(const nf_march_spec& spec, vf* x) {
  for (int j = 0; j < 3; j++) x[j] = (x[j] - spec.lower[j]) / (spec.upper[j] - spec.lower[j]);
  if (!spec.contracted) return;
  vf square{};
  for (int j = 0; j < 3; j++) x[j] = 2.0f * x[j] - 1.0f, square += x[j] * x[j];
  const vf root = sqrt(square), size = root > 1.0f ? root : splat(1.0f), factor = (2.0f - 1.0f / size) / size * 0.25f;
  for (int j = 0; j < 3; j++) x[j] = x[j] * factor + 0.5f;
}

// Which cell of which level holds unit-box points, as an index into the levels' cells.
inline vi cell_of(const nf_march_spec& spec, const vf* x) {
  vf off{}, scale = splat((float)(1 << (spec.levels - 1)));
  vi level{};
  for (int j = 0; j < 3; j++) {
    const vf d = 2.0f * x[j] - 1.0f, size = d < 0.0f ? -d : d;
    off = size > off ? size : off;
  }
  for (int l = 0; l < spec.levels - 1; l++) {
    const vi beyond = off * (float)(1 << (spec.levels - 1 - l)) > 1.0f;
    level -= beyond;
    scale = beyond ? scale * 0.5f : scale;
  }
  const float resolution = (float)spec.resolution;
  vi cell = level;
  for (int j = 0; j < 3; j++) {
    const vf place = ((x[j] - 0.5f) * scale + 0.5f) * resolution;
    const vf within = place > 0.0f ? (place < resolution ? place : splat(resolution - 1)) : vf{};  // a NaN is in the first
    cell = cell * spec.resolution + to_int(within);
  }
  return cell;
}

// How far a ray has been walked.
struct Walk {
  int32_t k = 0;
  float start = 0;
};

// Goes on along ray i: use(start, x) for each interval that is kept, x its middle (3) in the unit box, until use says no more.
// False at the ray's end. See kernels/volume/reference.py.
template <class Use>
inline bool walk(const nf_march_spec& spec, const Rays& rays, int64_t i, const uint8_t* occupied, Walk& at, const Use& use) {
  const float *o = rays.origins + 3 * i, *d = rays.directions + 3 * i, near = rays.near[i], far = rays.far[i], shift = rays.shift[i];
  if (!((far - near) / spec.step - shift < kEndless)) return false;  // or not a number
  const bool grows = spec.cone > 0;
  if (at.k == 0) at.start = near + shift * length_at(spec, near);
  alignas(64) float starts[W], points[3][W];
  alignas(64) int32_t cells[W];
  for (;;) {
    if (grows) {
      float start = at.start;
      for (int lane = 0; lane < W; lane++) starts[lane] = start, start += length_at(spec, start);
    } else {
      for (int lane = 0; lane < W; lane++) starts[lane] = near + ((float)(at.k + lane) + shift) * spec.step;
    }
    const vf start = load(starts), length = length_at(spec, start), middle = start + 0.5f * length;
    const vi inside = (middle > near) & (middle < far);  // a NaN is neither
    if (any(inside)) {
      vf x[3];
      for (int j = 0; j < 3; j++) x[j] = o[j] + middle * d[j];
      to_unit(spec, x);
      *(vi*)cells = cell_of(spec, x);
      for (int j = 0; j < 3; j++) *(vf*)points[j] = x[j];
      alignas(64) int32_t live[W];
      *(vi*)live = inside;
      for (int lane = 0; lane < W; lane++) {
        if (!live[lane] || !occupied[cells[lane]]) continue;
        const float point[3] = {points[0][lane], points[1][lane], points[2][lane]};
        if (use(starts[lane], point)) continue;
        at.k += lane + 1;
        at.start = starts[lane] + length_at(spec, starts[lane]);
        return true;
      }
    }
    const float last = starts[W - 1];
    if (!(last + 0.5f * length_at(spec, last) < far)) return false;
    at.k += W;
    at.start = last + length_at(spec, last);
  }
}

int march(const nf_march_spec* spec, int64_t n, const float* origins, const float* directions, const float* near, const float* far, const float* shift, const uint8_t* occupied,
          int64_t* counts, const int64_t* first, int64_t* ray_ids, float* starts, int threads) {
  const Rays rays{n, origins, directions, near, far, shift};
  for_each(threads, (n + kRays - 1) / kRays, [=](int64_t job) {
    for (int64_t i = job * kRays; i < n && i < (job + 1) * kRays; i++) {
      int64_t count = 0;
      Walk at;
      walk(*spec, rays, i, occupied, at, [&](float start, const float*) {
        if (!counts) ray_ids[first[i] + count] = i, starts[first[i] + count] = start;
        count++;
        return true;
      });
      if (counts) counts[i] = count;
    }
  });
  return 0;
}

}  // namespace NF_ISA
