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
};
