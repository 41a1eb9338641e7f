// The C interface of neufield's CPU kernels: plain pointers and sizes, float32, row-major. Neither Python nor torch.
//
// Every function takes the number of threads to use, returns 0, or -1 where memory ran out, and gives the same bits
// for the same input whatever the number of threads.
#pragma once
#include <stdint.h>

#if defined(_WIN32)
#define NF_API __declspec(dllexport)
#else
#define NF_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum nf_interpolation { NF_LINEAR = 0, NF_SMOOTHSTEP = 1, NF_NEAREST = 2 };
enum nf_activation { NF_NONE = 0, NF_RELU = 1, NF_LEAKY_RELU = 2, NF_SILU = 3, NF_SINE = 4 };
enum nf_front_kind { NF_FEATURES = 0, NF_FREQUENCY = 1, NF_GRID = 2 };
enum nf_loss { NF_L2 = 0, NF_L1 = 1, NF_HUBER = 2, NF_RELATIVE_L2 = 3 };
enum nf_precision { NF_FP32 = 0, NF_BF16 = 1 };
enum nf_density { NF_TRUNC_EXP = 0, NF_SOFTPLUS = 1, NF_RAMP = 2 };
enum nf_color_activation { NF_LINEAR_COLOR = 0, NF_SIGMOID = 1 };

typedef struct {
  float scale;          // a point x lies at scale * x + 0.5, rounded once
  uint32_t resolution;  // vertices an axis
  uint32_t size;        // table rows; a power of two where hashed
  uint32_t hashed;
  int64_t offset;       // of the first row
} nf_level;

typedef struct {
  int32_t dim, n_levels, n_features, interpolation;
  int64_t n_entries;
  const nf_level* levels;
} nf_grid;

// What stands before the network: its features as given, octaves of sines, or a grid.
typedef struct {
  int32_t kind, dim, n_frequencies;
  const nf_grid* grid;
} nf_encoding;

// params: for each of hidden + 1 linear maps its weight (out, in), then, with bias, its bias (out).
typedef struct {
  int32_t in, out, width, hidden, activation, bias, precision;
} nf_mlp;

// The trilinear form  T = sum_{n,c,f} w[n,c] g[n,f] table[row[n,c], f]  and its derivatives. With a direction v (n, dim)
// each corner weight w is replaced by its derivative along v; v may be null.
NF_API int nf_grid_gather(const nf_grid*, int64_t n, const float* x, const float* table, const float* v, float* out, int threads);
NF_API int nf_grid_scatter(const nf_grid*, int64_t n, const float* x, const float* g, const float* v, float* table, int threads);
NF_API int nf_grid_contract(const nf_grid*, int64_t n, const float* x, const float* table, const float* g, const float* v, float* dx, int threads);

// Encoding and network in one. features: of a grid, (n rounded up to 64) * in floats, kept for the backward pass; null keeps nothing.
NF_API int nf_field_forward(const nf_encoding*, const nf_mlp*, int64_t n, const float* x, const float* table, const float* params, float* features, float* y, int threads);
// dx and dtable may be null where they are not wanted.
NF_API int nf_field_backward(const nf_encoding*, const nf_mlp*, int64_t n, const float* x, const float* table, const float* params, const float* features,
                             const float* gy, float* dx, float* dtable, float* dparams, int threads);
// The per-point error (n), mean over channels, and the gradients of the mean of weight * error: the network once through and back, where forward and
// backward would compute its activations twice. weight (n) and dtable may be null.
NF_API int nf_field_regression(const nf_encoding*, const nf_mlp*, int64_t n, const float* x, const float* table, const float* params, const float* target,
                               const float* weight, int loss, float* error, float* dtable, float* dparams, int threads);

// Steps of `step` world units, or of `cone` times the distance where that is more, through a box that is the unit box; or, contracted, through
// all of the world, of which the ball in that box keeps its shape. Cells are occupied or not: (levels, resolution^3), 0 or 1, the last axis fastest; a
// level's box is half of the next one's, around the same middle.
typedef struct {
  float lower[3], upper[3], step, cone;
  int32_t resolution, levels, contracted;
} nf_march_spec;

// With counts (n): how many intervals each ray keeps. Without: their ray_ids and starts, those of ray i from first[i] on.
NF_API int nf_march(const nf_march_spec*, int64_t n, const float* origins, const float* directions, const float* near, const float* far, const float* shift,
                    const uint8_t* occupied, int64_t* counts, const int64_t* first, int64_t* ray_ids, float* starts, int threads);

// A radiance field along rays: a grid and a network for density and features, a second network for the colour of features and what is known of a ray.
typedef struct {
  const nf_march_spec* march;
  const nf_encoding* encoding;
  const nf_mlp *geometry, *color;  // color->in = geometry->out + degree^2 + the other numbers of a ray
  int32_t degree;                  // of the spherical harmonics of rays' directions, up to 8
  int32_t density, color_activation;
  float density_shift, density_scale;
  float least;  // light: what gets less is not visible
} nf_radiance;

// Walks the rays while they have light; what was found, or null where memory ran out. It goes to nf_radiance_settle, which frees it and writes the
// visible samples, ray after ray: ray_ids, starts (kept), x (kept, 3), and in tiles of 64 (kept rounded up) y (out) and, with keep, features (in).
NF_API void* nf_radiance_scout(const nf_radiance*, int64_t n, const float* origins, const float* directions, const float* near, const float* far, const float* shift,
                               const uint8_t* occupied, const float* table, const float* params, int keep, int64_t* marched, int64_t* kept, int threads);
NF_API int nf_radiance_settle(const nf_radiance*, void* found, int64_t n, int64_t kept, int64_t* ray_ids, float* starts, float* x, float* features, float* y, int threads);
// seen (n, color->in - geometry->out - degree^2) -> colors (kept, 3), weights (kept); rgb (n, 3), opacity (n), distance (n).
NF_API int nf_radiance_shade(const nf_radiance*, int64_t n, int64_t kept, const int64_t* ray_ids, const float* starts, const float* y, const float* directions,
                             const float* seen, const float* color_params, float* colors, float* weights, float* rgb, float* opacity, float* distance, int threads);
// dweights (kept) and dseen may be null.
NF_API int nf_radiance_backward(const nf_radiance*, int64_t n, int64_t kept, const int64_t* ray_ids, const float* starts, const float* x, const float* features, const float* y,
                                const float* directions, const float* seen, const float* colors, const float* weights, const float* params, const float* color_params, const float* drgb,
                                const float* dopacity, const float* ddistance, const float* dweights, float* dseen, float* dtable, float* dparams, float* dcolor_params,
                                int threads);

// Instruction sets: names of those compiled in and usable on this machine, comma-separated, slowest first; and the choice of one.
NF_API const char* nf_isas(void);
NF_API int nf_use_isa(const char* name);
NF_API const char* nf_isa(void);
NF_API int nf_has_bf16(void);

#ifdef __cplusplus
}
#endif
