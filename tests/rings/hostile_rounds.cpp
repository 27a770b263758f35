// A peer that writes anything, again and again: what hostile_test.cpp does over more seeds than a test has time for.
//
//     hostile_rounds [SEEDS [FIRST]]     default: 10,000 seeds from 1; 10,000,000 take some hours under the sanitizers
//
// Of each layout and side, so many seeds, half of them lies in every shared read and half of them scribbles between the
// calls, spread over its kinds of records and three capacities. Ends with 1 at the first check that fails, naming the
// seed; says after each side what it did.
#include <charconv>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "tests/rings/hostile_checks.hpp"

namespace nimsync::rings_test {
namespace {

struct Victim {
  const char* name;
  std::vector<Kind> kinds;
};

/// How many seeds were run.
std::uint64_t attack(const Victim& victim, Side side, std::uint64_t first, std::uint64_t seeds) {
  const std::uint64_t parts = victim.kinds.size() * 6;
  const std::uint64_t each = (seeds + parts - 1) / parts;
  std::uint64_t done = 0;
  for (const Kind& kind : victim.kinds) {
    const std::uint64_t unit = kind.framed() ? page() : 1;
    for (const std::uint64_t capacity : {1 * unit, 2 * unit, 8 * unit}) {
      for (const Malice malice : {Malice::lies, Malice::scribbles}) {
        check_hostile(kind, capacity, side, malice, first + done, each);
        done += each;
      }
    }
  }
  return done;
}

int run(std::uint64_t seeds, std::uint64_t first) {
  const Victim victims[] = {{"stamped", {stamped<Watched, 8>(), stamped<Watched, 12, kSizeAtRunTime>()}},
                            {"dense", {dense<Watched, 8>(), dense<Watched, 12, kSizeAtRunTime>()}},
                            {"framed", {framed<Watched>()}}};
  for (const Victim& victim : victims) {
    for (const Side side : {Side::sender, Side::receiver}) {
      const std::uint64_t done = attack(victim, side, first, seeds);
      std::cout << victim.name << (side == Side::sender ? " sender: " : " receiver: ") << done << " seeds from "
                << first << ", nothing outside, no other status, no read too many" << std::endl;
    }
  }
  return 0;
}

}  // namespace
}  // namespace nimsync::rings_test

int main(int count, char** arguments) {
  std::uint64_t numbers[] = {10'000, 1};
  for (int i = 1; i < count && i <= 2; ++i) {
    const char* const end = arguments[i] + std::strlen(arguments[i]);
    if (std::from_chars(arguments[i], end, numbers[i - 1]).ptr != end) count = 4;
  }
  if (count > 3) {
    std::cerr << "usage: hostile_rounds [SEEDS [FIRST]]\n";
    return 2;
  }
  try {
    return nimsync::rings_test::run(numbers[0], numbers[1]);
  } catch (const nimsync::rings_test::Broken& broken) {
    std::cout << broken.what() << std::endl;
    return 1;
  }
}
