// The checks of this folder in one small program: what is compiled against the rings with a seeded mistake.
//
//     mutants CHECK    0: the check passed; 1: it failed, and says how; 2: no such check
//
// Built without optimisation and with assertions off. The checks are the ones that the tests run; here over fewer
// rings.
#include <cstdio>
#include <cstring>
#include <initializer_list>

#include "tests/rings/conformance_checks.hpp"
#include "tests/rings/crash_checks.hpp"
#include "tests/rings/hostile_checks.hpp"

namespace nimsync::rings_test {
namespace {

const Kind kKinds[] = {stamped<Watched, 8>(), dense<Watched, 12, kSizeAtRunTime>(), framed<Watched>()};

std::vector<std::uint64_t> capacities(const Kind& kind, std::initializer_list<std::uint64_t> records) {
  return kind.framed() ? std::vector<std::uint64_t>{page()} : std::vector<std::uint64_t>(records);
}

void crashes() {
  for (const Kind& kind : kKinds) {
    for (const std::uint64_t capacity : capacities(kind, {2, 128})) {
      for (const Scene& scene : scenes(capacity, kind.framed())) {
        if (capacity != 2 && (scene.waiting > 1 || scene.before > 66)) continue;
        for (const Operation operation : kSenders) check_crashes(kind, scene, operation);
        for (const Operation operation : kReceivers) check_crashes(kind, scene, operation);
      }
    }
  }
}

void interleavings() {
  for (const Kind& kind : kKinds) {
    for (const std::uint64_t capacity : capacities(kind, {1, 2})) {
      for (const Scene& scene : scenes(capacity, kind.framed())) {
        if (scene.before > 2) continue;
        for (const bool much : {false, true}) {
          for (const Operation operation : kSenders) check_interleavings(kind, scene, operation, much);
          for (const Operation operation : kReceivers) check_interleavings(kind, scene, operation, much);
        }
      }
    }
  }
}

void walks() {
  for (const Kind& kind : kKinds) {
    for (const std::uint64_t capacity : capacities(kind, {1, 2, 16, 128})) {
      for (const std::uint64_t seed : {1U, 2U, 3U}) check_walk(kind, geometry(kind, capacity), seed, 2000);
    }
    if (kind.framed()) check_walk(kind, {Layout::framed, layout::largest_frame(page()), page()}, 4, 2000);
  }
}

void streams() {
  for (const Kind& kind : kKinds) check_queued_streams(kind, kind.framed() ? page() : 16, 250);
}

void corruption() {
  for (const Kind& kind : kKinds) check_corruption(kind, kind.framed() ? page() : 2);
}

void hostility() {
  for (const Kind& kind : kKinds) {
    for (const Side side : {Side::sender, Side::receiver}) {
      for (const Malice malice : {Malice::lies, Malice::scribbles}) {
        check_hostile(kind, kind.framed() ? page() : 2, side, malice, 1, 3000);
      }
    }
  }
}

void misuse() {
  for (const Kind& kind : kKinds) check_misuse(kind, kind.framed() ? page() : 2);
}

constexpr struct {
  const char* name;
  void (*run)();
} kChecks[] = {{"crashes", crashes},       {"interleavings", interleavings}, {"walks", walks},  {"streams", streams},
               {"corruption", corruption}, {"hostility", hostility},         {"misuse", misuse}};

}  // namespace
}  // namespace nimsync::rings_test

int main(int count, char** arguments) {
  for (const auto& check : nimsync::rings_test::kChecks) {
    if (count != 2 || std::strcmp(arguments[1], check.name) != 0) continue;
    try {
      check.run();
      return 0;
    } catch (const nimsync::rings_test::Broken& broken) {
      std::printf("%s\n", broken.what());
      return 1;
    }
  }
  std::fprintf(stderr, "no such check\n");
  return 2;
}
