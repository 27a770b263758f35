// All executions, one after the other: a depth-first search over the choices of a program that is run again and again.
//
// Whatever may go one way or another asks choose(). An execution repeats the choices of the last one up to the last of
// them that has an alternative left, takes that, and from there on the first alternative of each.
//
// A state that was reached before isn't gone on from again, unless more of the budget is left than then. States are
// told apart by 128 bits of digest; that two of the millions here share one is as likely as a fault of the machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/model/memory.hpp"

namespace nimsync::model {

class Search {
 public:
  /// Below `count`, which isn't 0.
  unsigned choose(unsigned count) {
    if (count == 1) return 0;
    if (depth_ == path_.size()) path_.push_back({0, count});
    return path_[depth_++].taken;
  }
  /// Whether this execution is still where an earlier one was.
  [[nodiscard]] bool is_repeating() const noexcept { return depth_ < path_.size(); }

  /// Goes on to the next execution; false when there is none.
  bool next() {
    while (!path_.empty() && path_.back().taken + 1 == path_.back().count) path_.pop_back();
    if (path_.empty()) return false;
    ++path_.back().taken;
    depth_ = 0;
    return true;
  }
  /// Does the last execution again.
  void repeat() noexcept { depth_ = 0; }

  /// Whether this state was reached before with at least this much of the budget, which is below 16; remembers it.
  bool was_reached(const Digest& state, unsigned budget) {
    if (2 * (states_ + 1) > reached_.size()) grow();
    Reached& entry = find(state.low() | 1U, state.high() & ~Word{0xf});
    if (entry.low != 0) {
      if ((entry.high & 0xf) >= budget) return true;
    } else {
      ++states_;
    }
    entry = {state.low() | 1U, (state.high() & ~Word{0xf}) | budget};
    return false;
  }
  [[nodiscard]] std::size_t states() const noexcept { return states_; }

 private:
  struct Choice {
    unsigned taken;
    unsigned count;
  };
  struct Reached {
    Word low = 0;   // odd; 0: free
    Word high = 0;  // the last 4 bits are the budget
  };

  Reached& find(Word low, Word high) {
    const std::size_t mask = reached_.size() - 1;
    std::size_t at = (low >> 1U) & mask;
    while (reached_[at].low != 0 && (reached_[at].low != low || (reached_[at].high & ~Word{0xf}) != high)) {
      at = (at + 1) & mask;
    }
    return reached_[at];
  }
  void grow() {
    std::vector<Reached> old(reached_.size() * 2);
    old.swap(reached_);
    for (const Reached& entry : old) {
      if (entry.low != 0) find(entry.low, entry.high & ~Word{0xf}) = entry;
    }
  }

  std::vector<Choice> path_;
  std::size_t depth_ = 0;
  std::vector<Reached> reached_ = std::vector<Reached>(std::size_t{1} << 16U);
  std::size_t states_ = 0;
};

}  // namespace nimsync::model
