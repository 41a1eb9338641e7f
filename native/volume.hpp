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

// Blocks of 8 x 8 x 8 cells, occupied where any of them is: what lets a ray pass through what is empty in a few steps.
class Blocks {
 public:
  Blocks(const nf_march_spec& spec, const uint8_t* occupied, int threads)
      : side_(spec.resolution / kSide), memory_(usable(spec) ? (size_t)side_ * side_ * side_ / 4 + 1 : 0), use(usable(spec) && !memory_.failed()) {
    if (!use) return;
    uint8_t* blocks = (uint8_t*)memory_.get();
    const int r = spec.resolution, side = side_;
    for_each(threads, side, [=](int64_t i) {
      for (int j = 0; j < side; j++)
        for (int k = 0; k < side; k++) {
          uint64_t found = 0;
          for (int a = 0; a < kSide; a++)
            for (int b = 0; b < kSide; b++) {
              uint64_t row;
              __builtin_memcpy(&row, occupied + ((i * kSide + a) * r + j * kSide + b) * r + k * kSide, 8);
              found |= row;
            }
          blocks[(i * side + j) * side + k] = found != 0;
        }
    });
  }

  // The first step from k on that is in an occupied block, or before one, or beyond `far`. o and d: along which unit-box points lie.
  int32_t next(const float* o, const float* d, float near, float far, float shift, float step, int32_t k) const {
    const uint8_t* blocks = (const uint8_t*)memory_.get();
    for (;;) {
      const float middle = near + ((float)k + shift + 0.5f) * step;
      if (!(middle < far)) return k;
      float leave = far;
      int64_t block = 0;
      for (int j = 0; j < 3; j++) {
        const float x = (o[j] + middle * d[j]) * (float)side_;
        const int at = x > 0 ? x < (float)side_ ? (int)x : side_ - 1 : 0;
        block = block * side_ + at;
        const float face = d[j] != 0 ? ((float)(d[j] > 0 ? at + 1 : at) / (float)side_ - o[j]) / d[j] : far;
        if (face < leave) leave = face;
      }
      if (blocks[block]) return k;
      // One step less than what rounding could make too many.
      const float steps = (leave - near) / step - shift - 1.5f;
      k = steps > (float)(k + 1) ? (int32_t)steps : k + 1;
    }
  }

 private:
  static constexpr int kSide = 8;
  static bool usable(const nf_march_spec& spec) { return spec.levels == 1 && !spec.contracted && !(spec.cone > 0) && spec.resolution % kSide == 0; }
  const int side_;
  const Scratch memory_;

 public:
  const bool use;
};

// How far a ray has been walked.
struct Walk {
  int32_t k = 0;
  float start = 0;
};

// Goes on along ray i: use(start, x) for each interval that is kept, x its middle (3) in the unit box, until use says no more.
// False at the ray's end. See kernels/volume/reference.py.
template <class Use>
inline bool walk(const nf_march_spec& spec, const Rays& rays, int64_t i, const uint8_t* occupied, const Blocks& blocks, Walk& at, const Use& use) {
  const float *o = rays.origins + 3 * i, *d = rays.directions + 3 * i, near = rays.near[i], far = rays.far[i], shift = rays.shift[i];
  if (!((far - near) / spec.step - shift < kEndless)) return false;  // or not a number
  const bool grows = spec.cone > 0;
  if (at.k == 0) at.start = near + shift * length_at(spec, near);
  alignas(64) float starts[W], points[3][W];
  alignas(64) int32_t cells[W];
  float unit_o[3], unit_d[3];
  for (int j = 0; j < 3; j++) {
    const float side = spec.upper[j] - spec.lower[j];
    unit_o[j] = (o[j] - spec.lower[j]) / side, unit_d[j] = d[j] / side;
  }
  for (;;) {
    if (blocks.use) at.k = blocks.next(unit_o, unit_d, near, far, shift, spec.step, at.k);
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
  const Blocks blocks(*spec, occupied, threads);
  for_each(threads, (n + kRays - 1) / kRays, [&](int64_t job) {
    for (int64_t i = job * kRays; i < n && i < (job + 1) * kRays; i++) {
      int64_t count = 0;
      Walk at;
      walk(*spec, rays, i, occupied, blocks, at, [&](float start, const float*) {
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
