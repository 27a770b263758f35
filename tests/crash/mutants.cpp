// The checks of this folder over one kind of ring in one small program, which is linked with the product with a seeded
// mistake.
//
//     mutants CHECK    0: the check passed; 1: it failed, and says how; 2: no such check
//
// The checks are the ones that the tests run; here at fewer points. What is compiled anew for a mistake in the rings is
// mutants_kind.cpp alone.
#include <cstdio>
#include <cstring>

#include "tests/crash/waiting_checks.hpp"

namespace nimsync::crash_test {

Kind kind();  // mutants_kind.cpp

namespace {

template <std::size_t N>
void operations(const Operation (&all)[N], std::size_t act_every, Tally& tally) {
  std::size_t salt = 0;
  for (const Scene& scene : scenes(kind())) {
    for (const Operation operation : all) {
      check_operation({kind(), scene, operation, true}, {.kill_every = 43, .act_every = act_every}, salt++, tally);
    }
  }
}

void sending(Tally& tally) {
  operations(rings_test::kSenders, 11, tally);
}

void receiving(Tally& tally) {
  operations(rings_test::kReceivers, 1, tally);
}

void attaching(Tally& tally) {
  const std::uint64_t capacity = kind().framed() ? rings_test::page() : 4;
  for (const Operation operation : {Operation::send_some, Operation::close, Operation::receive}) {
    check_attaching({kind(), {capacity, 3, 2}, operation, true}, 1999, 0, tally);
  }
}

void leaving(Tally& tally) {
  check_leaving(kind(), Role::sender, false, tally);
  check_leaving(kind(), Role::sender, true, tally);
  check_leaving(kind(), Role::receiver, false, tally);
}

void waiting(Tally& tally) {
  check_waiting(kind(), Role::receiver, 41, 0, tally);
  check_waiting(kind(), Role::sender, 97, 0, tally);
}

void waking(Tally& tally) {
  check_waking(kind(), Operation::send, 11, 0, tally);
  check_waking(kind(), Operation::receive, 11, 0, tally);
}

constexpr struct {
  const char* name;
  void (*run)(Tally&);
} kChecks[] = {{"sending", sending}, {"receiving", receiving}, {"attaching", attaching},
               {"leaving", leaving}, {"waiting", waiting},     {"waking", waking}};

}  // namespace
}  // namespace nimsync::crash_test

int main(int count, char** arguments) {
  using namespace nimsync::crash_test;
  for (const auto& check : kChecks) {
    if (count != 2 || std::strcmp(arguments[1], check.name) != 0) continue;
    Tally tally;
    try {
      check.run(tally);
      std::printf("%s\n", text(tally).c_str());
      return 0;
    } catch (const std::exception& broken) {
      std::printf("%s\n", broken.what());
      return 1;
    }
  }
  std::fprintf(stderr, "no such check\n");
  return 2;
}
