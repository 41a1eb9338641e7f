// All kernels, for one instruction set: compiled once for each, with NF_ISA its name and the compiler's flags to match.
#include "radiance.hpp"
#include "table.hpp"

#define NF_JOIN2(a, b) a##b
#define NF_JOIN(a, b) NF_JOIN2(a, b)

extern const Kernels NF_JOIN(nf_kernels_, NF_ISA);
const Kernels NF_JOIN(nf_kernels_, NF_ISA) = {
    NF_ISA::grid_gather, NF_ISA::grid_scatter, NF_ISA::grid_contract, NF_ISA::field_forward, NF_ISA::field_backward, NF_ISA::field_regression,
    NF_ISA::march, NF_ISA::radiance_scout, NF_ISA::radiance_settle, NF_ISA::radiance_shade, NF_ISA::radiance_backward,
};
