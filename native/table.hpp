// What one instruction set offers; the interface calls through the table of the chosen one.
#pragma once
#include "neufield.h"

struct Kernels {
  decltype(&nf_grid_gather) grid_gather;
  decltype(&nf_grid_scatter) grid_scatter;
  decltype(&nf_grid_contract) grid_contract;
  decltype(&nf_field_forward) field_forward;
  decltype(&nf_field_backward) field_backward;
  decltype(&nf_field_regression) field_regression;
  decltype(&nf_march) march;
  decltype(&nf_radiance_scout) radiance_scout;
  decltype(&nf_radiance_settle) radiance_settle;
  decltype(&nf_radiance_shade) radiance_shade;
  decltype(&nf_radiance_backward) radiance_backward;
};
