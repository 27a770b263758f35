// The checks of this folder in one small program: what is compiled against the product with a seeded mistake.
//
//     mutants CHECK    0: the check passed; 1: it failed, and says how; 2: no such check
//
// The checks are the ones that the tests run; here at fewer points.
#include <cstdio>
#include <cstring>

#include "tests/crash/waiting_checks.hpp"

namespace nimsync::crash_test {
namespace {

const Kind kKinds[] = {stamped<64>(), dense<8>(), framed()};

void operations() {
  Tally tally;
  std::size_t salt = 0;
  for (const Kind& kind : kKinds) {
    for (const Scene& scene : scenes(kind)) {
      const auto check = [&](Operation operation) {
        check_operation({kind, scene, operation, true}, {.kill_every = 29, .act_every = 5}, salt++, tally);
      };
      for (const Operation operation : rings_test::kSenders) check(operation);
      for (const Operation operation : rings_test::kReceivers) check(operation);
    }
  }
}

void attaching() {
  Tally tally;
  for (const Kind& kind : kKinds) {
    const std::uint64_t capacity = kind.framed() ? rings_test::page() : 4;
    for (const Operation operation : {Operation::send_some, Operation::receive}) {
      check_attaching({kind, {capacity, 3, 2}, operation, true}, 997, 0, tally);
    }
  }
}

void leaving() {
  Tally tally;
  check_leaving(kKinds[1], Role::sender, false, tally);
  check_leaving(kKinds[1], Role::sender, true, tally);
  check_leaving(kKinds[1], Role::receiver, false, tally);
}

void waiting() {
  Tally tally;
  check_waiting(kKinds[1], Role::receiver, 7, 0, tally);
  check_waiting(kKinds[1], Role::sender, 17, 0, tally);
}

void waking() {
  Tally tally;
  check_waking(kKinds[1], Operation::send, 5, 0, tally);
}

constexpr struct {
  const char* name;
  void (*run)();
} kChecks[] = {{"operations", operations},
               {"attaching", attaching},
               {"leaving", leaving},
               {"waiting", waiting},
               {"waking", waking}};

}  // namespace
}  // namespace nimsync::crash_test

int main(int count, char** arguments) {
  for (const auto& check : nimsync::crash_test::kChecks) {
    if (count != 2 || std::strcmp(arguments[1], check.name) != 0) continue;
    try {
      check.run();
      return 0;
    } catch (const std::exception& broken) {
      std::printf("%s\n", broken.what());
      return 1;
    }
  }
  std::fprintf(stderr, "no such check\n");
  return 2;
}
