// Threads: torch's own OpenMP pool where there is OpenMP, threads of our own elsewhere.
#pragma once
#include <stddef.h>
#include <stdint.h>
#if defined(_OPENMP)
#include <omp.h>
#else
#include <thread>
#include <vector>
#endif

extern "C" int nf_team(int threads);  // 1 in a forked child, whose parent's pool did not come along
extern "C" void* nf_borrow(size_t bytes);  // 64-byte aligned, kept for the next call; null where memory ran out
extern "C" void nf_return(void*);

namespace NF_ISA {

// job(i) for every i in [0, jobs), handed out one by one: a thread that another process disturbs takes fewer.
template <class Job>
void for_each(int threads, int64_t jobs, const Job& job) {
  threads = nf_team(threads);
  if (threads > jobs) threads = (int)jobs;
  int64_t next = 0;
  auto work = [&] {
    for (int64_t i; (i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < jobs;) job(i);
  };
  if (threads <= 1) return work();
#if defined(_OPENMP)
#pragma omp parallel num_threads(threads)
  work();
#else
  std::vector<std::thread> others;
  for (int i = 1; i < threads; i++) others.emplace_back(work);
  work();
  for (auto& other : others) other.join();
#endif
}

// Memory for the length of a call.
class Scratch {
 public:
  explicit Scratch(size_t floats) : data_((float*)nf_borrow(floats * sizeof(float))) {}
  ~Scratch() { nf_return(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  float* get() const { return data_; }
  bool failed() const { return data_ == nullptr; }

 private:
  float* data_;
};

}  // namespace NF_ISA
