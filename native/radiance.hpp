// A radiance field along rays: march, encode, density, what is visible, colour, composite, and the way back.
// Its reference is kernels/radiance/reference.py.
//
// Rays are walked in waves of a few intervals each, so that what hides behind something opaque is neither marched nor
// encoded; within a wave, work goes level by level and tile by tile as in mlp.hpp. What remains, the visible samples, is then
// laid out ray after ray ("settled"), coloured and summed up.
#pragma once
#include <memory>
#include <new>
#include <vector>

#include "mlp.hpp"
#include "volume.hpp"

namespace NF_ISA {

constexpr int kFirstQuota = 8, kLastQuota = 128;  // intervals of a ray in a wave
constexpr int64_t kWave = 1 << 20;                // intervals of a wave, at most about

// W densities from their logits, per world unit; and, in `slope`, their derivatives. See kernels/radiance/density.py.
// Not inlined: GCC 12 crashes in the middle of geometry_of_wave's loop with AVX-512 otherwise.
__attribute__((noinline)) inline vf density_of(const nf_radiance& spec, vf logit, vf& slope) {
  const vf z = logit + spec.density_shift;
  switch (spec.density) {
    case NF_SOFTPLUS: {
      const vf e = exp(z), plus = 1.0f + e;
      vf value;
      for (int i = 0; i < W; i++) value[i] = z[i] > 20.0f ? z[i] : __builtin_log1pf(e[i]);  // as PyTorch
      slope = spec.density_scale * (z > 20.0f ? splat(1.0f) : e / plus);
      return spec.density_scale * value;
    }
    case NF_RAMP: {
      const vf zero{};
      slope = z > 0.0f ? splat(spec.density_scale) : zero;
      return spec.density_scale * (z < 0.0f ? zero : z);  // a NaN stays one
    }
    default: {
      constexpr float kSteepest = 15.0f;
      slope = spec.density_scale * exp(z > kSteepest ? splat(kSteepest) : z);
      return spec.density_scale * exp(z);
    }
  }
}

// The share of light that an interval of optical depth `own` lets through, and that it takes: 1 - exp(-own), accurate near 0.
inline vf through(vf own) { return exp(-own); }
inline vf taken(vf own, vf passed) {
  const vf series = own * (1.0f - own * (0.5f - own * (1.0f / 6 - own * (1.0f / 24))));
  return own < 0.03f ? series : 1.0f - passed;
}

// Some intervals of each ray that still has light.
struct Wave {
  int64_t n_rays = 0, n = 0;  // rays, intervals
  bool out_of_memory = false;
  std::unique_ptr<Scratch> rays, starts, columns, features, y, passed;
  int32_t* ray_of() const { return (int32_t*)rays->get(); }        // of each ray here, its index
  int32_t* first() const { return ray_of() + n_rays; }             // its first interval
  int32_t* count() const { return first() + n_rays; }              // how many it has
  int32_t* kept() const { return count() + n_rays; }               // and how many of them, the first ones, are visible
  bool failed() const {
    if (out_of_memory) return true;
    for (const auto* each : {&rays, &starts, &columns, &features, &y, &passed})
      if (*each && (*each)->failed()) return true;
    return false;
  }
};

inline std::unique_ptr<Scratch> scratch(int64_t floats) { return std::unique_ptr<Scratch>(new Scratch(floats)); }

// What was found along the rays of one call; radiance_settle takes it apart.
struct Scout {
  std::vector<Wave> waves;
};

// Marches the wave's rays by at most `quota` intervals each; rays that reach their end leave walks[ray].k = -1.
inline void march_wave(const nf_march_spec& spec, const Rays& rays, const uint8_t* occupied, const Blocks& blocks, Walk* walks, int quota, Wave& wave, int threads) {
  const Scratch slots((size_t)wave.n_rays * quota * 4);
  wave.out_of_memory = slots.failed();
  if (wave.failed()) return;
  for_each(threads, (wave.n_rays + 63) / 64, [&](int64_t job) {
    for (int64_t i = job * 64; i < wave.n_rays && i < (job + 1) * 64; i++) {
      float* slot = slots.get() + i * quota * 4;
      int count = 0;
      const int32_t ray = wave.ray_of()[i];
      const bool more = walk(spec, rays, ray, occupied, blocks, walks[ray], [&](float start, const float* x) {
        slot[4 * count] = start;
        for (int j = 0; j < 3; j++) slot[4 * count + 1 + j] = x[j];
        return ++count < quota;
      });
      if (!more) walks[ray].k = -1;
      wave.count()[i] = count;
    }
  });
  for (int64_t i = 0; i < wave.n_rays; i++) wave.first()[i] = (int32_t)wave.n, wave.n += wave.count()[i];
  const int64_t total = padded(wave.n);
  wave.starts = scratch(total);
  wave.columns = scratch(3 * total);
  if (wave.failed()) return;
  for_each(threads, (wave.n_rays + 255) / 256, [&](int64_t job) {
    for (int64_t i = job * 256; i < wave.n_rays && i < (job + 1) * 256; i++)
      for (int k = 0; k < wave.count()[i]; k++) {
        const float* slot = slots.get() + (i * quota + k) * 4;
        const int64_t at = wave.first()[i] + k;
        wave.starts->get()[at] = slot[0];
        for (int j = 0; j < 3; j++) wave.columns->get()[j * total + at] = slot[1 + j];
      }
  });
  for (int64_t at = wave.n; at < total; at++) {
    wave.starts->get()[at] = 0;
    for (int j = 0; j < 3; j++) wave.columns->get()[j * total + at] = 0;
  }
}

// The network's output of a wave's intervals, in tiles, and the share of light that each lets through.
inline void geometry_of_wave(const nf_radiance& spec, const Network& network, const void* packed, const float* table, const float* params, Wave& wave, int threads) {
  const int64_t total = padded(wave.n);
  const int in = spec.geometry->in, out = spec.geometry->out;
  wave.features = scratch(total * in);
  wave.y = scratch(total * out);
  wave.passed = scratch(total);
  if (wave.failed()) return;
  const Points points{spec.encoding->grid, wave.n, total, wave.columns->get(), nullptr};
  gather_all(points, table, Tiles{wave.features->get(), in}, threads);
  const Call call{*spec.encoding, network, wave.n, nullptr, params, wave.features->get(), packed};
  const int64_t tiles = total / kTile;
  for_each(threads, (tiles + 7) / 8, [&](int64_t job) {
    const Workspace space(network);
    if (space.memory.failed()) return __atomic_store_n(&wave.out_of_memory, true, __ATOMIC_RELAXED);
    const TileRegisters registers;
    for (int64_t tile = job * 8; tile < tiles && tile < (job + 1) * 8; tile++) {
      forward_tile(call, space, wave.features->get() + tile * kTile * in, network.depth);
      const float* y = space.before(network.depth - 1);
      __builtin_memcpy(wave.y->get() + tile * kTile * out, y, (size_t)out * kTile * sizeof(float));
      for (int i = 0; i < kTile; i += W) {
        vf slope;
        const vf own = density_of(spec, load(y + in_tile(out, 0, i)), slope) * length_at(*spec.march, load(wave.starts->get() + tile * kTile + i));
        store(wave.passed->get() + tile * kTile + i, through(own));
      }
    }
  });
}

// Walks all rays as long as they have light. Null where memory ran out.
void* radiance_scout(const nf_radiance* spec, int64_t n, const float* origins, const float* directions, const float* near, const float* far, const float* shift,
                         const uint8_t* occupied, const float* table, const float* params, int keep, int64_t* marched, int64_t* kept, int threads) {
  std::unique_ptr<Scout> found(new (std::nothrow) Scout);
  const Network network(*spec->geometry);
  const Factors weights(network, params, false);
  const Rays rays{n, origins, directions, near, far, shift};
  const Blocks blocks(*spec->march, occupied, threads);
  const Scratch state((size_t)n * 5 + 64);
  if (!found || weights.failed() || state.failed()) return nullptr;
  double* light = (double*)state.get();
  Walk* walks = (Walk*)(light + n);
  int32_t* alive = (int32_t*)(walks + n);
  int64_t n_alive = 0;
  for (int64_t i = 0; i < n; i++) {
    light[i] = 1, walks[i] = Walk{};
    if (far[i] > near[i]) alive[n_alive++] = (int32_t)i;
  }
  *marched = *kept = 0;
  for (int wanted = kFirstQuota; n_alive; wanted = wanted < kLastQuota ? 2 * wanted : wanted) {
    const int64_t most = kWave / n_alive;
    const int quota = most < 1 ? 1 : most < wanted ? (int)most : wanted;
    found->waves.emplace_back();
    Wave& wave = found->waves.back();
    wave.n_rays = n_alive;
    wave.rays = scratch(4 * n_alive);
    if (wave.failed()) return nullptr;
    __builtin_memcpy(wave.ray_of(), alive, n_alive * sizeof(int32_t));
    march_wave(*spec->march, rays, occupied, blocks, walks, quota, wave, threads);
    if (wave.failed()) return nullptr;
    geometry_of_wave(*spec, network, weights.get(), table, params, wave, threads);
    if (wave.failed()) return nullptr;
    if (!keep) wave.features = nullptr;
    for_each(threads, (wave.n_rays + 255) / 256, [&](int64_t job) {
      for (int64_t i = job * 256; i < wave.n_rays && i < (job + 1) * 256; i++) {
        const float* passed = wave.passed->get() + wave.first()[i];
        double left = light[wave.ray_of()[i]];
        int visible = 0;
        while (visible < wave.count()[i] && left >= spec->least) left *= passed[visible++];
        wave.kept()[i] = visible;
        light[wave.ray_of()[i]] = left;
      }
    });
    n_alive = 0;
    for (int64_t i = 0; i < wave.n_rays; i++) {
      const int32_t ray = wave.ray_of()[i];
      *kept += wave.kept()[i];
      if (walks[ray].k >= 0 && light[ray] >= spec->least) alive[n_alive++] = ray;
    }
    wave.passed = nullptr;
    *marched += wave.n;
  }
  return found.release();
}

// The visible samples, ray after ray: ray_ids, starts (kept), x (kept, 3), and in tiles y and, if not null, features.
int radiance_settle(const nf_radiance* spec, void* scout, int64_t n, int64_t kept, int64_t* ray_ids, float* starts, float* x, float* features, float* y, int threads) {
  const std::unique_ptr<Scout> found((Scout*)scout);
  const Scratch places(2 * (size_t)n + 2);
  if (places.failed()) return -1;
  int64_t* next = (int64_t*)places.get();
  __builtin_memset(next, 0, n * sizeof(int64_t));
  for (const Wave& wave : found->waves)
    for (int64_t i = 0; i < wave.n_rays; i++) next[wave.ray_of()[i]] += wave.kept()[i];
  int64_t at = 0;
  for (int64_t i = 0; i < n; i++) {
    const int64_t count = next[i];
    next[i] = at, at += count;
  }
  const int in = spec->geometry->in, out = spec->geometry->out;
  for (const Wave& wave : found->waves)
    for_each(threads, (wave.n_rays + 63) / 64, [&](int64_t job) {
      for (int64_t i = job * 64; i < wave.n_rays && i < (job + 1) * 64; i++) {
        const int32_t ray = wave.ray_of()[i];
        for (int k = 0; k < wave.kept()[i]; k++) {
          const int64_t from = wave.first()[i] + k, to = next[ray]++;
          ray_ids[to] = ray;
          starts[to] = wave.starts->get()[from];
          for (int j = 0; j < 3; j++) x[3 * to + j] = wave.columns->get()[j * padded(wave.n) + from];
          for (int c = 0; c < out; c++) y[in_tile(out, c, to)] = wave.y->get()[in_tile(out, c, from)];
          if (features)
            for (int c = 0; c < in; c++) features[in_tile(in, c, to)] = wave.features->get()[in_tile(in, c, from)];
        }
      }
    });
  for (int64_t to = kept; to < padded(kept); to++) {
    for (int c = 0; c < out; c++) y[in_tile(out, c, to)] = 0;
    for (int c = 0; c < in && features; c++) features[in_tile(in, c, to)] = 0;
  }
  return 0;
}

// Real spherical harmonics of unit directions, bands below `degree`, channel l^2 + l + m; see encodings/spherical.py.
class Harmonics {
 public:
  explicit Harmonics(int degree) : degree_(degree) {
    for (int band = 0; band < degree; band++)
      for (int m = 0; m <= band; m++) {
        double ratio = 1;
        for (int i = band - m + 1; i <= band + m; i++) ratio *= i;
        const double norm = __builtin_sqrt((2 * band + 1) / (4 * 3.14159265358979323846) / ratio);
        factor_[band][m] = (float)(m ? norm * __builtin_sqrt(2.0) : norm);
      }
  }
  void operator()(const float* d, float* out) const {
    float cosine = 1, sine = 0, diagonal = 1;  // Re and Im of (dx + i dy)^m, and P_m^m
    for (int m = 0; m < degree_; m++) {
      float below = 0, legendre = diagonal;
      for (int band = m; band < degree_; band++) {
        const float value = factor_[band][m] * legendre;
        out[band * band + band + m] = value * cosine;
        if (m) out[band * band + band - m] = value * sine;
        const float above = ((float)(2 * band + 1) * d[2] * legendre - (float)(band + m) * below) / (float)(band + 1 - m);
        below = legendre, legendre = above;
      }
      const float turned = d[0] * cosine - d[1] * sine;
      sine = d[0] * sine + d[1] * cosine, cosine = turned;
      diagonal *= (float)-(2 * m + 1);
    }
  }

 private:
  const int degree_;
  float factor_[8][8];
};

// Samples that were settled, and the rays that they belong to.
struct Settled {
  const nf_radiance& spec;
  int64_t n, kept;
  const int64_t* ray_ids;
  const float *starts, *y;
  const float* harmonics;  // (n, n_harmonics), of the rays' directions; only of rays that have samples
  const float* seen;       // (n, n_seen)
  int n_harmonics, n_seen;

  // The colour network's input: a tile of y, then what is known of the samples' rays.
  void color_input(int64_t p, float* tile) const {
    const int out = spec.geometry->out, in = out + n_harmonics + n_seen;
    for (int i = 0; i < kTile; i += kPanel) __builtin_memcpy(tile + in_tile(in, 0, i), y + in_tile(out, 0, p + i), (size_t)out * kPanel * sizeof(float));
    for (int i = 0; i < kTile; i++) {
      float* to = tile + in_tile(in, out, i);
      if (p + i < kept) {
        const float *first = harmonics + ray_ids[p + i] * n_harmonics, *then = seen + ray_ids[p + i] * n_seen;
        for (int c = 0; c < n_harmonics; c++) to[c * kPanel] = first[c];
        for (int c = 0; c < n_seen; c++) to[(n_harmonics + c) * kPanel] = then[c];
      } else {
        for (int c = 0; c < n_harmonics + n_seen; c++) to[c * kPanel] = 0;
      }
    }
  }
  // first[i]: where the samples of ray i begin; n + 1 numbers.
  void find_rays(int64_t* first) const {
    int64_t ray = 0;
    for (int64_t at = 0; at < kept; at++)
      while (ray <= ray_ids[at]) first[ray++] = at;
    while (ray <= n) first[ray++] = kept;
  }
  // Of W samples from p on the optical depths and their derivatives by the logit.
  vf depths(int64_t p, vf& slope) const {
    vf start{};
    for (int lane = 0; lane < W && p + lane < kept; lane++) start[lane] = starts[p + lane];
    const vf length = length_at(*spec.march, start), sigma = density_of(spec, load(y + in_tile(spec.geometry->out, 0, p)), slope);
    slope *= length;
    return sigma * length;
  }
  float middle(int64_t at) const { return starts[at] + 0.5f * length_at(*spec.march, starts[at]); }
};

// harmonics: room for the rays' (n, spec->degree^2).
inline Settled settled(const nf_radiance* spec, int64_t n, int64_t kept, const int64_t* ray_ids, const float* starts, const float* y, const float* directions, const float* seen,
                       float* harmonics) {
  const int n_harmonics = spec->degree * spec->degree;
  const Harmonics of(spec->degree);
  for (int64_t i = 0; i < kept && n_harmonics; i++)
    if (i == 0 || ray_ids[i] != ray_ids[i - 1]) of(directions + 3 * ray_ids[i], harmonics + ray_ids[i] * n_harmonics);
  return Settled{*spec, n, kept, ray_ids, starts, y, harmonics, seen, n_harmonics, spec->color->in - spec->geometry->out - n_harmonics};
}

// colors (kept, 3) and weights (kept), and of each ray rgb (n, 3), opacity, distance (n).
int radiance_shade(const nf_radiance* spec, int64_t n, int64_t kept, const int64_t* ray_ids, const float* starts, const float* y, const float* directions, const float* seen,
                   const float* color_params, float* colors, float* weights, float* rgb, float* opacity, float* distance, int threads) {
  const Scratch harmonics((size_t)n * spec->degree * spec->degree);
  if (harmonics.failed()) return -1;
  const Settled samples = settled(spec, n, kept, ray_ids, starts, y, directions, seen, harmonics.get());
  const Network network(*spec->color);
  const Factors factors(network, color_params, false);
  const int64_t tiles = padded(kept) / kTile;
  const Scratch places(2 * (size_t)n + 4), light(2 * (size_t)padded(kept));
  if (factors.failed() || places.failed() || light.failed()) return -1;
  const nf_encoding nothing{NF_FEATURES, spec->color->in, 0, nullptr};
  const Call call{nothing, network, kept, nullptr, color_params, nullptr, factors.get()};
  float *passed = light.get(), *share = passed + padded(kept);
  bool failed = false;
  for_each(threads, (tiles + 7) / 8, [&](int64_t job) {
    const Workspace space(network);
    if (space.memory.failed()) return __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
    const TileRegisters registers;
    for (int64_t tile = job * 8; tile < tiles && tile < (job + 1) * 8; tile++) {
      const int64_t p = tile * kTile;
      samples.color_input(p, space.features);
      forward_tile(call, space, space.features, network.depth);
      float* color = space.before(network.depth - 1);
      if (spec->color_activation == NF_SIGMOID)
        for (int i = 0; i < 3 * kTile; i += W) store(color + i, 1.0f / (1.0f + exp(-load(color + i))));
      tile_to_rows(color, kept, p, 3, colors);
      for (int i = 0; i < kTile; i += W) {
        vf slope;
        const vf own = samples.depths(p + i, slope), left = through(own);
        store(passed + p + i, left);
        store(share + p + i, taken(own, left));
      }
    }
  });
  if (failed) return -1;
  int64_t* first = (int64_t*)places.get();
  samples.find_rays(first);
  for_each(threads, (n + kRays - 1) / kRays, [&](int64_t job) {
    for (int64_t ray = job * kRays; ray < n && ray < (job + 1) * kRays; ray++) {
      double left = 1;
      float sums[5] = {};
      for (int64_t i = first[ray]; i < first[ray + 1]; i++) {
        const float w = (float)left * share[i];
        left *= passed[i];
        weights[i] = w;
        for (int c = 0; c < 3; c++) sums[c] += w * colors[3 * i + c];
        sums[3] += w;
        sums[4] += w * samples.middle(i);
      }
      for (int c = 0; c < 3; c++) rgb[3 * ray + c] = sums[c];
      opacity[ray] = sums[3];
      distance[ray] = sums[4];
    }
  });
  return 0;
}

// The gradients from those of what radiance_shade gave; dweights, dseen (n, .) may be null.
int radiance_backward(const nf_radiance* spec, int64_t n, int64_t kept, const int64_t* ray_ids, const float* starts, const float* x, const float* features, const float* y,
                      const float* directions, const float* seen, const float* colors, const float* weights, const float* params, const float* color_params, const float* drgb, const float* dopacity,
                      const float* ddistance, const float* dweights, float* dseen, float* dtable, float* dparams, float* dcolor_params, int threads) {
  const Scratch harmonics((size_t)n * spec->degree * spec->degree);
  if (harmonics.failed()) return -1;
  const Settled samples = settled(spec, n, kept, ray_ids, starts, y, directions, seen, harmonics.get());
  const Network geometry(*spec->geometry), color(*spec->color);
  const Factors geometry_factors(geometry, params, true), color_factors(color, color_params, true);
  const int64_t tiles = padded(kept) / kTile, total = padded(kept);
  const int groups = tiles < kGroups ? (int)tiles : kGroups, in = spec->geometry->in, out = spec->geometry->out, n_seen = samples.n_seen, first_seen = out + samples.n_harmonics;
  const Scratch places(2 * (size_t)n + 4), depths(3 * total), dfeatures(total * in), by_seen(dseen ? total * n_seen : 0);
  const Scratch geometry_groups((size_t)groups * geometry.n_padded), color_groups((size_t)groups * color.n_padded);
  for (const Scratch* each : {&places, &depths, &dfeatures, &by_seen, &geometry_groups, &color_groups})
    if (each->failed()) return -1;
  if (geometry_factors.failed() || color_factors.failed()) return -1;

  // By the logits. `left`: what an interval lets through, then the light behind it.
  float *left = depths.get(), *slopes = left + total, *dlogit = slopes + total;
  for_each(threads, (tiles + 31) / 32, [&](int64_t job) {
    for (int64_t i = job * 32 * kTile; i < total && i < (job + 1) * 32 * kTile; i += W) {
      vf slope;
      store(left + i, through(samples.depths(i, slope)));
      store(slopes + i, slope);
      store(dlogit + i, vf{});
    }
  });
  int64_t* first = (int64_t*)places.get();
  samples.find_rays(first);
  for_each(threads, (n + kRays - 1) / kRays, [&](int64_t job) {
    for (int64_t ray = job * kRays; ray < n && ray < (job + 1) * kRays; ray++) {
      const float* d = drgb + 3 * ray;
      double light = 1, behind = 0;
      for (int64_t i = first[ray]; i < first[ray + 1]; i++) left[i] = (float)(light *= left[i]);
      const auto by_weight = [&](int64_t i) {
        const float value = d[0] * colors[3 * i] + d[1] * colors[3 * i + 1] + d[2] * colors[3 * i + 2] + dopacity[ray] + ddistance[ray] * samples.middle(i);
        return dweights ? value + dweights[i] : value;
      };
      for (int64_t i = first[ray + 1] - 1; i >= first[ray]; i--) {
        const float change = by_weight(i);
        dlogit[i] = (float)(left[i] * (double)change - behind) * slopes[i];
        behind += weights[i] * (double)change;
      }
    }
  });

  const nf_encoding nothing{NF_FEATURES, spec->color->in, 0, nullptr};
  const Call color_call{nothing, color, kept, nullptr, color_params, nullptr, color_factors.get()};
  const Call geometry_call{*spec->encoding, geometry, kept, nullptr, params, features, geometry_factors.get()};
  bool failed = false;
  for_each(threads, groups, [&](int64_t group) {
    const Workspace color_space(color), geometry_space(geometry);
    if (color_space.memory.failed() || geometry_space.memory.failed()) return __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
    const TileRegisters registers;
    float *by_color = color_groups.get() + group * color.n_padded, *by_geometry = geometry_groups.get() + group * geometry.n_padded;
    __builtin_memset(by_color, 0, color.n_padded * sizeof(float));
    __builtin_memset(by_geometry, 0, geometry.n_padded * sizeof(float));
    for (int64_t tile = tiles * group / groups; tile < tiles * (group + 1) / groups; tile++) {
      const int64_t p = tile * kTile;
      samples.color_input(p, color_space.features);
      const auto through_color = [&](const Workspace&, const float*, int64_t, float* d) {
        for (int i = 0; i < kTile; i++)
          for (int c = 0; c < 3; c++) {
            float change = 0;
            if (p + i < kept) {
              const float value = colors[3 * (p + i) + c];
              change = weights[p + i] * drgb[3 * ray_ids[p + i] + c] * (spec->color_activation == NF_SIGMOID ? value * (1 - value) : 1.0f);
            }
            d[in_tile(3, c, i)] = change;
          }
      };
      train_tile(color_call, color_space, color_space.features, p, through_color, by_color, color_space.dfeatures);
      if (dseen)
        for (int i = 0; i < kTile && p + i < kept; i++)
          for (int c = 0; c < n_seen; c++) by_seen.get()[(p + i) * n_seen + c] = color_space.dfeatures[in_tile(first_seen + n_seen, first_seen + c, i)];
      const auto through_y = [&](const Workspace&, const float*, int64_t, float* d) {
        for (int i = 0; i < kTile; i += kPanel) {
          __builtin_memcpy(d + in_tile(out, 0, i), color_space.dfeatures + in_tile(first_seen + n_seen, 0, i), (size_t)out * kPanel * sizeof(float));
          for (int k = 0; k < kPanel; k += W) store(d + in_tile(out, 0, i) + k, load(d + in_tile(out, 0, i) + k) + load(dlogit + p + i + k));
        }
      };
      train_tile(geometry_call, geometry_space, features + p * in, p, through_y, by_geometry, dfeatures.get() + p * in);
    }
  });
  if (failed) return -1;
  add_groups(geometry, geometry_groups.get(), groups, dparams);
  add_groups(color, color_groups.get(), groups, dcolor_params);
  if (dseen)
    for (int64_t ray = 0; ray < n; ray++)
      for (int c = 0; c < n_seen; c++) {
        float sum = 0;
        for (int64_t i = first[ray]; i < first[ray + 1]; i++) sum += by_seen.get()[i * n_seen + c];
        dseen[ray * n_seen + c] = sum;
      }
  const Columns columns(spec->encoding->grid, kept, x, nullptr, threads);
  if (columns.failed()) return -1;
  scatter_all(columns.points, Tiles{dfeatures.get(), in}, dtable, threads);
  return 0;
}

}  // namespace NF_ISA
