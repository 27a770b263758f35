// One side of one layout's ring, attacked by a fuzzer's bytes: what the targets of the rings share. The bytes choose
// the ring, its capacity and positions, the calls, and what each shared read returns (or what is scribbled between the
// calls). What must hold is in tests/rings/hostile_checks.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "tests/fuzz/bytes.hpp"
#include "tests/rings/hostile_checks.hpp"

namespace nimsync::fuzz {

class Victim {
 public:
  Victim(rings_test::Side side, const std::vector<rings_test::Kind>& kinds) : side_(side) {
    for (const rings_test::Kind& kind : kinds) {
      const std::uint64_t unit = kind.framed() ? rings_test::page() : 1;
      for (const std::uint64_t capacity : {1 * unit, 2 * unit, 8 * unit}) {
        attacks_.push_back(std::make_unique<rings_test::Attack>(kind, capacity));
      }
    }
  }

  int attack(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t most_calls = 100;
    Bytes bytes(data, size);
    rings_test::Attack& attack = *attacks_[bytes.below(attacks_.size())];
    const auto malice = bytes.below(2) == 0 ? rings_test::Malice::lies : rings_test::Malice::scribbles;
    attack.run(bytes, static_cast<int>(std::min(bytes.left(), most_calls)), side_, malice);
    return 0;
  }

 private:
  rings_test::Side side_;
  std::vector<std::unique_ptr<rings_test::Attack>> attacks_;
};

}  // namespace nimsync::fuzz
