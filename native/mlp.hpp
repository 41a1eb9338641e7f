// Encoding and network in one. A grid is encoded level by level over all points; the network then takes 64 points
// at a time, channel by channel with the points side by side, through all layers while they are in the first cache.
// The backward pass computes the activations again instead of reading them from memory.
#pragma once
#include "bf16.hpp"
#include "gemm.hpp"
#include "grid.hpp"

namespace NF_ISA {

constexpr int kGroups = 32;  // parts of the batch with a parameter gradient of their own, added up in order at the end

// One linear map and where its numbers are.
struct Linear {
  int in, out;
  int in16, in32, out16, out32; // rounded up to tiles of bfloat16
  int64_t weight, bias;         // offsets in params
  int64_t dweight, dbias;       // offsets in a group's padded gradient; the weight's is (out16, in16) in panels
  int64_t packed, turned;       // offsets of the weight and its transpose as a product's first factor
};

struct Network {
  Linear layers[16];
  int depth;                    // linear maps
  int activation;
  bool has_bias, bf16;
  int widest;
  int64_t n_params, n_padded, n_packed;

  explicit Network(const nf_mlp& mlp) : depth(mlp.hidden + 1), activation(mlp.activation), has_bias(mlp.bias), bf16(mlp.precision == NF_BF16), widest(mlp.in) {
    int64_t at = 0, padded_at = 0, packed_at = 0;
    for (int l = 0; l < depth; l++) {
      Linear& layer = layers[l];
      layer.in = l == 0 ? mlp.in : mlp.width;
      layer.out = l == depth - 1 ? mlp.out : mlp.width;
      layer.in16 = round_up(layer.in, 16), layer.in32 = round_up(layer.in, 32);
      layer.out16 = round_up(layer.out, 16), layer.out32 = round_up(layer.out, 32);
      layer.weight = at;
      layer.bias = at + (int64_t)layer.in * layer.out;
      at = layer.bias + (has_bias ? layer.out : 0);
      layer.dweight = padded_at;
      layer.dbias = padded_at + (int64_t)layer.in16 * layer.out16;
      padded_at = layer.dbias + layer.out16;
      layer.packed = packed_at;
      layer.turned = packed_at + (bf16 ? layer.out16 * layer.in32 : layer.in * layer.out);
      packed_at = layer.turned + (bf16 ? layer.in16 * layer.out32 : layer.in * layer.out);
      if (layer.out32 > widest) widest = layer.out32;
      if (layer.in32 > widest) widest = layer.in32;
    }
    n_params = at;
    n_padded = padded_at;
    n_packed = packed_at;
  }
  // From these the derivative needs the value before the activation; of the others, the value after it is enough.
  bool keeps_before() const { return activation == NF_SILU || activation == NF_SINE; }
};

inline void activate(int activation, int64_t count, const float* before, float* after) {
  switch (activation) {
    case NF_RELU:
      for (int64_t i = 0; i < count; i += W) {
        const vf z = load(before + i);
        store(after + i, z < 0.0f ? vf{} : z);  // a NaN stays one
      }
      return;
    case NF_LEAKY_RELU:
      for (int64_t i = 0; i < count; i += W) {
        const vf z = load(before + i);
        store(after + i, z < 0.0f ? z * 0.01f : z);
      }
      return;
    case NF_SILU:
      for (int64_t i = 0; i < count; i += W) {
        const vf z = load(before + i);
        store(after + i, z / (1.0f + exp(-z)));
      }
      return;
    case NF_SINE:
      for (int64_t i = 0; i < count; i += W) {
        vf s, c;
        sincos(load(before + i), s, c);
        store(after + i, s);
      }
      return;
    default:
      if (before != after)
        for (int64_t i = 0; i < count; i += W) store(after + i, load(before + i));
  }
}

// d := d * activation'(before), with `after` given too.
inline void activate_backward(int activation, int64_t count, const float* before, const float* after, float* d) {
  switch (activation) {
    case NF_RELU:
      for (int64_t i = 0; i < count; i += W) store(d + i, load(after + i) <= 0.0f ? vf{} : load(d + i));  // as PyTorch at a NaN
      return;
    case NF_LEAKY_RELU:
      for (int64_t i = 0; i < count; i += W) store(d + i, load(after + i) <= 0.0f ? load(d + i) * 0.01f : load(d + i));
      return;
    case NF_SILU:
      for (int64_t i = 0; i < count; i += W) {
        const vf z = load(before + i), s = 1.0f / (1.0f + exp(-z));
        store(d + i, load(d + i) * s * (1.0f + z * (1.0f - s)));
      }
      return;
    case NF_SINE:
      for (int64_t i = 0; i < count; i += W) {
        vf s, c;
        sincos(load(before + i), s, c);
        store(d + i, load(d + i) * c);
      }
      return;
  }
}

// Points p to p + 63 of rows (n, channels) as a tile; what is beyond the last point is 0.
inline void rows_to_tile(const float* rows, int64_t n, int64_t p, int channels, float* tile) {
  const int live = live_points(n, p);
  const float* from = rows + p * channels;
  int c = 0;
  if (live == kTile)
    for (; c + 8 <= channels; c += 8)
      for (int i = 0; i < kTile; i += kPanel) transpose(kPanel, 8, from + i * channels + c, channels, tile + in_tile(channels, c, i), kPanel);
  for (int i = 0; i < kTile; i++)
    for (int k = c; k < channels; k++) tile[in_tile(channels, k, i)] = i < live ? from[i * channels + k] : 0.0f;
}

inline void tile_to_rows(const float* tile, int64_t n, int64_t p, int channels, float* rows) {
  const int live = live_points(n, p);
  for (int i = 0; i < live; i++)
    for (int c = 0; c < channels; c++) rows[(p + i) * channels + c] = tile[in_tile(channels, c, i)];
}

constexpr float kTurn = 6.283185307179586f;

// Octaves of sines, channel order (axis, octave, sine | cosine). x 2^(k-1) turns, reduced exactly.
inline void frequency_tile(const nf_encoding& encoding, const float* x, int64_t n, int64_t p, float* tile) {
  for (int j = 0; j < encoding.dim; j++)
    for (int i = 0; i < kTile; i += W) {
      vf point{};
      for (int lane = 0; lane < W; lane++)
        if (p + i + lane < n) point[lane] = x[(p + i + lane) * encoding.dim + j];
      vf turns = point * 0.5f;
      float* out = tile + in_tile(encoding.dim * encoding.n_frequencies * 2, j * encoding.n_frequencies * 2, i);
      for (int k = 0; k < encoding.n_frequencies; k++, turns += turns, out += 2 * kPanel) {
        vf s, c;
        sincos((turns - floor(turns + 0.5f)) * kTurn, s, c);
        store(out, s);
        store(out + kPanel, c);
      }
    }
}

inline void frequency_backward(const nf_encoding& encoding, const float* tile, const float* d, int64_t n, int64_t p, float* dx) {
  const int live = n - p < kTile ? (int)(n - p) : kTile;
  for (int j = 0; j < encoding.dim; j++)
    for (int i = 0; i < live; i++) {
      float total = 0, rate = kTurn / 2;
      const int64_t at = in_tile(encoding.dim * encoding.n_frequencies * 2, j * encoding.n_frequencies * 2, i);
      for (int k = 0; k < encoding.n_frequencies; k++, rate += rate) {
        const int64_t sine = at + 2 * k * kPanel, cosine = sine + kPanel;
        total += rate * (tile[cosine] * d[sine] - tile[sine] * d[cosine]);
      }
      dx[(p + i) * encoding.dim + j] = total;
    }
}

// What a thread works in. before[l], after[l]: layer l's values around its activation; after[-1] are the features.
struct Workspace {
  Scratch memory;
  float *features, *values, *d, *next, *dfeatures, *turned;
  half *pairs, *rows;  // the factors of a product in bfloat16
  const int64_t layer_size;
  const bool two;

  explicit Workspace(const Network& network)
      : memory((size_t)kTile * network.widest * (6 + (network.keeps_before() ? 2 : 1) * network.depth)),
        layer_size((int64_t)kTile * network.widest), two(network.keeps_before()) {
    features = memory.get();
    d = features + layer_size;
    next = d + layer_size;
    dfeatures = next + layer_size;
    turned = dfeatures + layer_size;
    pairs = (half*)(turned + layer_size);
    rows = pairs + layer_size;
    values = turned + 2 * layer_size;
  }
  float* after(int l) const { return values + layer_size * (two ? 2 * l : l); }
  float* before(int l) const { return two ? after(l) + layer_size : after(l); }
};

struct Call {
  const nf_encoding& encoding;
  const Network& network;
  int64_t n;
  const float *x, *params, *features;  // features: of a grid, in tiles
  const void* packed;                  // the weights as a product's first factor (class Factors)

  // The weight of a layer, or its transpose, from its offset.
  const half* halves(int64_t at) const { return (const half*)packed + at; }
  Packed floats(int64_t at, int columns) const { return {(const float*)packed + at, columns}; }
};

inline const float* tile_features(const Call& call, int64_t p, float* own) {
  switch (call.encoding.kind) {
    case NF_GRID: return call.features + p * call.network.layers[0].in;
    case NF_FREQUENCY: frequency_tile(call.encoding, call.x, call.n, p, own); return own;
    default: rows_to_tile(call.x, call.n, p, call.network.layers[0].in, own); return own;
  }
}

// out = activation(W input + bias), for a ReLU; for the other activations, what comes before it.
inline void linear(const Call& call, const Workspace& space, const Linear& layer, const float* input, float* out, bool relu) {
  const float* bias = call.params + layer.bias;
  if (!call.network.bf16) {
    const Packed weight = call.floats(layer.packed, layer.in);
    const Start start = call.network.has_bias ? Start::bias : Start::zero;
    return relu ? gemm(layer.out, kTile, layer.in, weight, input, out, layer.out, start, bias, Relu{}) : gemm(layer.out, kTile, layer.in, weight, input, out, layer.out, start, bias);
  }
  pack_pairs(layer.in, layer.in32, input, space.pairs);
  if (call.network.has_bias)
    for (int j = 0; j < layer.out; j++)
      for (int i = 0; i < kTile; i++) out[in_tile(layer.out, j, i)] = bias[j];
  product(layer.out16, kTile, layer.in32, call.halves(layer.packed), layer.in32, space.pairs, kTile, out, layer.out, call.network.has_bias);
  if (relu) activate(NF_RELU, (int64_t)layer.out * kTile, out, out);
}

// dW += d input^T
inline void add_weight_gradient(const Call& call, const Workspace& space, const Linear& layer, const float* input, const float* d, float* dweight) {
  if (!call.network.bf16) {
    transpose_tile(layer.in, input, layer.in16, space.turned);
    return gemm(layer.out, layer.in16, kTile, TileRows{d, layer.out}, space.turned, dweight, layer.out16, Start::add);
  }
  // Two neighbouring points of a channel are one unit: their transpose is the second factor as product() wants it.
  pack_rows(layer.in, layer.in16, input, space.rows);
  transpose(layer.in16, kTile / 2, (const float*)space.rows, kTile / 2, space.turned, layer.in16);
  pack_rows(layer.out, layer.out16, d, space.rows);
  product(layer.out16, layer.in16, kTile, space.rows, kTile, (const half*)space.turned, layer.in16, dweight, layer.out16, true);
}

// dinput = W^T d, and through the ReLU that gave `relu`, where it is not null.
inline void linear_backward(const Call& call, const Workspace& space, const Linear& layer, const float* d, float* dinput, const float* relu) {
  if (!call.network.bf16) {
    const Packed weight = call.floats(layer.turned, layer.out);
    return relu ? gemm(layer.in, kTile, layer.out, weight, d, dinput, layer.in, Start::zero, nullptr, WhereActive{relu}) : gemm(layer.in, kTile, layer.out, weight, d, dinput, layer.in, Start::zero);
  }
  pack_pairs(layer.out, layer.out32, d, space.pairs);
  product(layer.in16, kTile, layer.out32, call.halves(layer.turned), layer.out32, space.pairs, kTile, dinput, layer.in, false);
  if (relu) activate_backward(NF_RELU, (int64_t)layer.in * kTile, relu, relu, dinput);
}

inline void forward_tile(const Call& call, const Workspace& space, const float* features, int layers) {
  const Network& network = call.network;
  for (int l = 0; l < layers; l++) {
    const Linear& layer = network.layers[l];
    const bool hidden = l < network.depth - 1, relu = hidden && network.activation == NF_RELU;
    linear(call, space, layer, l == 0 ? features : space.after(l - 1), space.before(l), relu);
    if (hidden && !relu) activate(network.activation, (int64_t)layer.out * kTile, space.before(l), space.after(l));
  }
}

// Through the network and back. `output(space, p, d)` fills d (out, 64), the loss's gradient by the network's values, when
// the hidden layers are done. dfeatures (in, 64) may be null.
template <class Output>
inline void train_tile(const Call& call, const Workspace& space, const float* features, int64_t p, const Output& output, float* dparams, float* dfeatures) {
  const Network& network = call.network;
  const int last = network.depth - 1;
  forward_tile(call, space, features, last);
  float *d = space.d, *next = space.next;
  output(space, last == 0 ? features : space.after(last - 1), p, d);
  for (int l = last; l >= 0; l--) {
    const Linear& layer = network.layers[l];
    const float* input = l == 0 ? features : space.after(l - 1);
    add_weight_gradient(call, space, layer, input, d, dparams + layer.dweight);
    if (network.has_bias)
      for (int j = 0; j < layer.out; j++) {
        vf total{};
        for (int i = 0; i < kTile; i += W) total += load(d + in_tile(layer.out, j, i));
        dparams[layer.dbias + j] += sum(total);
      }
    if (l == 0) break;
    const bool relu = network.activation == NF_RELU;
    linear_backward(call, space, layer, d, next, relu ? input : nullptr);
    if (!relu) activate_backward(network.activation, (int64_t)layer.in * kTile, space.before(l - 1), space.after(l - 1), next);
    float* spare = d;
    d = next, next = spare;
  }
  if (!dfeatures) return;
  // A product of bfloat16 writes more rows than there are.
  float* to = network.bf16 ? next : dfeatures;
  linear_backward(call, space, network.layers[0], d, to, nullptr);
  if (to != dfeatures) __builtin_memcpy(dfeatures, to, (size_t)network.layers[0].in * kTile * sizeof(float));
}

// The weights and, for the way back, their transposes as products read them, for the length of a call.
class Factors {
 public:
  Factors(const Network& network, const float* params, bool back) : memory_(network.n_packed) {
    if (memory_.failed()) return;
    float* floats = memory_.get();
    half* halves = (half*)floats;
    for (int l = 0; l < network.depth; l++) {
      const Linear& layer = network.layers[l];
      const float* weight = params + layer.weight;
      if (network.bf16) {
        pack_weight(layer.out, layer.in, weight, layer.out16, layer.in32, halves + layer.packed, false);
        if (back) pack_weight(layer.out, layer.in, weight, layer.in16, layer.out32, halves + layer.turned, true);
      } else {
        pack(layer.out, layer.in, weight, false, floats + layer.packed);
        if (back) pack(layer.in, layer.out, weight, true, floats + layer.turned);
      }
    }
  }
  bool failed() const { return memory_.failed(); }
  const void* get() const { return memory_.get(); }

 private:
  Scratch memory_;
};

int field_forward(const nf_encoding* encoding, const nf_mlp* mlp, int64_t n, const float* x, const float* table, const float* params, float* features, float* y, int threads) {
  const Network network(*mlp);
  const bool grid = encoding->kind == NF_GRID;
  // Without features to keep, so many points at a time that the scratch stays small and a level still pays.
  const int64_t chunk = features ? n : 1 << 17;
  Scratch own(grid && !features ? (size_t)padded(n < chunk ? n : chunk) * mlp->in : 0);
  const Factors weights(network, params, false);
  if (own.failed() || weights.failed()) return -1;
  bool failed = false;
  for (int64_t begin = 0; begin < n; begin += chunk) {
    const int64_t count = n - begin < chunk ? n - begin : chunk;
    const float* points = x + begin * (encoding->kind == NF_FEATURES ? mlp->in : encoding->dim);
    float* encoded = features ? features : own.get();
    if (grid) {
      Columns columns(encoding->grid, count, points, nullptr, threads);
      if (columns.failed()) return -1;
      gather_all(columns.points, table, Tiles{encoded, mlp->in}, threads);
    }
    const Call call{*encoding, network, count, points, params, encoded, weights.get()};
    const int64_t tiles = (count + kTile - 1) / kTile, jobs = (tiles + 15) / 16;
    for_each(threads, jobs, [&](int64_t job) {
      Workspace space(network);
      if (space.memory.failed()) return __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
      const TileRegisters registers;
      for (int64_t tile = job * 16; tile < tiles && tile < job * 16 + 16; tile++) {
        forward_tile(call, space, tile_features(call, tile * kTile, space.features), network.depth);
        tile_to_rows(space.before(network.depth - 1), count, tile * kTile, mlp->out, y + begin * mlp->out);
      }
    });
  }
  return failed ? -1 : 0;
}

// to += from
inline void add_row(int count, const float* from, float* to) {
  int i = 0;
  for (; i + W <= count; i += W) store(to + i, load(to + i) + load(from + i));
  for (; i < count; i++) to[i] += from[i];
}

// dparams = the groups' gradients, added in their order.
inline void add_groups(const Network& network, const float* partial, int groups, float* dparams) {
  __builtin_memset(dparams, 0, network.n_params * sizeof(float));
  for (int g = 0; g < groups; g++, partial += network.n_padded)
    for (int l = 0; l < network.depth; l++) {
      const Linear& layer = network.layers[l];
      for (int j = 0; j < layer.out; j++)
        for (int k = 0; k < layer.in; k += kPanel)
          add_row(panel_width(layer.in, k), partial + layer.dweight + in_panels(layer.out16, layer.in16, j, k), dparams + layer.weight + (int64_t)j * layer.in + k);
      if (network.has_bias) add_row(layer.out, partial + layer.dbias, dparams + layer.bias);
    }
}

// The gradients of everything, from `output` (see train_tile). features: a grid's.
template <class Output>
int gradients(const nf_encoding& encoding, const Network& network, int64_t n, const float* x, const float* table, const float* params, const float* features,
              const Output& output, float* dx, float* dtable, float* dparams, int threads) {
  const int in = network.layers[0].in;
  const bool grid = encoding.kind == NF_GRID, to_features = dx || (grid && dtable);
  const int64_t tiles = (n + kTile - 1) / kTile;
  const int groups = tiles < kGroups ? (int)tiles : kGroups;
  Scratch partial((size_t)groups * network.n_padded), dfeatures(grid && to_features ? (size_t)padded(n) * in : 0);
  const Factors weights(network, params, true);
  if (partial.failed() || dfeatures.failed() || weights.failed()) return -1;
  bool failed = false;
  const Call call{encoding, network, n, x, params, features, weights.get()};
  for_each(threads, groups, [&](int64_t group) {
    Workspace space(network);
    if (space.memory.failed()) return __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
    const TileRegisters registers;
    float* gradient = partial.get() + group * network.n_padded;
    __builtin_memset(gradient, 0, network.n_padded * sizeof(float));
    for (int64_t tile = tiles * group / groups; tile < tiles * (group + 1) / groups; tile++) {
      const int64_t p = tile * kTile;
      const float* encoded = tile_features(call, p, space.features);
      float* by_features = !to_features ? nullptr : grid ? dfeatures.get() + p * in : space.dfeatures;
      train_tile(call, space, encoded, p, [&](const Workspace& own, const float* input, int64_t at, float* d) { output(call, own, input, at, d); }, gradient, by_features);
      if (!to_features || grid) continue;
      encoding.kind == NF_FREQUENCY ? frequency_backward(encoding, encoded, by_features, n, p, dx) : tile_to_rows(by_features, n, p, in, dx);
    }
  });
  if (failed) return -1;
  add_groups(network, partial.get(), groups, dparams);
  if (!grid || !to_features) return 0;
  Columns columns(encoding.grid, n, x, nullptr, threads);
  if (columns.failed()) return -1;
  const Tiles d{dfeatures.get(), in};
  if (dtable) scatter_all(columns.points, d, dtable, threads);
  if (dx && !contract_all(columns.points, table, d, dx, threads)) return -1;
  return 0;
}

int field_backward(const nf_encoding* encoding, const nf_mlp* mlp, int64_t n, const float* x, const float* table, const float* params, const float* features, const float* gy,
                   float* dx, float* dtable, float* dparams, int threads) {
  const Network network(*mlp);
  const auto output = [=](const Call&, const Workspace&, const float*, int64_t p, float* d) { rows_to_tile(gy, n, p, mlp->out, d); };
  return gradients(*encoding, network, n, x, table, params, features, output, dx, dtable, dparams, threads);
}

// The losses of W values and, in `slope`, their derivatives.
inline vf loss_of(int loss, vf y, vf target, vf& slope) {
  const vf e = y - target, size = e < 0.0f ? -e : e;
  switch (loss) {
    case NF_L1: slope = e > 0.0f ? splat(1.0f) : e < 0.0f ? splat(-1.0f) : e; return size;
    case NF_HUBER:  // delta 0.1, over 0.1
      slope = size <= 0.1f ? e * 10.0f : e > 0.0f ? splat(1.0f) : splat(-1.0f);
      return size <= 0.1f ? 5.0f * e * e : size - 0.05f;
    case NF_RELATIVE_L2: {  // the divisor is held constant
      const vf scale = 1.0f / (y * y + 0.01f);
      slope = 2.0f * e * scale;
      return e * e * scale;
    }
    default: slope = 2.0f * e; return e * e;
  }
}

int field_regression(const nf_encoding* encoding, const nf_mlp* mlp, int64_t n, const float* x, const float* table, const float* params, const float* target, const float* weight,
                     int loss, float* error, float* dtable, float* dparams, int threads) {
  const Network network(*mlp);
  const bool grid = encoding->kind == NF_GRID;
  Scratch features(grid ? (size_t)padded(n) * mlp->in : 0);
  if (features.failed()) return -1;
  if (grid) {
    Columns columns(encoding->grid, n, x, nullptr, threads);
    if (columns.failed()) return -1;
    gather_all(columns.points, table, Tiles{features.get(), mlp->in}, threads);
  }
  const Linear& last = network.layers[network.depth - 1];
  const float share = 1.0f / ((float)n * mlp->out);
  const auto output = [&](const Call& call, const Workspace& space, const float* input, int64_t p, float* d) {
    linear(call, space, last, input, d, false);
    float* wanted = space.turned;
    rows_to_tile(target, n, p, last.out, wanted);
    const int live = live_points(n, p);
    alignas(64) float totals[kTile], shares[kTile];
    for (int i = 0; i < kTile; i++) shares[i] = weight && i < live ? share * weight[p + i] : share;
    for (int i = 0; i < kTile; i += W) {
      vf total{};
      const vf factor = load(shares + i);
      for (int c = 0; c < last.out; c++) {
        const int64_t at = in_tile(last.out, c, i);
        vf slope;
        total += loss_of(loss, load(d + at), load(wanted + at), slope);
        store(d + at, slope * factor);
      }
      store(totals + i, total / (float)last.out);
    }
    for (int i = live; i < kTile; i++)
      for (int c = 0; c < last.out; c++) d[in_tile(last.out, c, i)] = 0;
    __builtin_memcpy(error + p, totals, live * sizeof(float));
  };
  return gradients(*encoding, network, n, x, table, params, features.get(), output, nullptr, dtable, dparams, threads);
}

}  // namespace NF_ISA
