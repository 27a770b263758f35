#include "tests/faults/scenarios.hpp"

#include <signal.h>

#include <filesystem>
#include <ostream>

namespace nimsync::testing {

namespace {

namespace fs = std::filesystem;
using Fate = World::Fate;

constexpr std::uint64_t kSlices = std::uint64_t{32} << 20;  // of ring: three slices with the header

const Wish kDense{.name = "dense"};
const Wish kStamped{.name = "stamped", .options = {.capacity = 16, .layout = Layout::stamped}};
const Wish kFrames{.name = "frames", .options = {.capacity = 4096}, .frames = true};
const Wish kSealed{.name = "sealed", .options = {.capacity = 16, .layout = Layout::dense, .sealed = true}};
const Wish kSealedFrames{.name = "sealed-frames", .options = {.capacity = 4096, .sealed = true}, .frames = true};
const Wish kSliced{.name = "sliced", .options = {.capacity = kSlices}, .frames = true};

void watched(World& world) {
  world.watch();
}

void create_small(World& world) {
  world.create(kDense);
  world.create({.name = "shared", .options = {.capacity = 16, .layout = Layout::dense, .mode = 0666}});
  world.create(kFrames);
}

void create_in_slices(World& world) {
  world.create(kSliced);
}

void create_sealed(World& world) {
  world.create(kSealed);
  world.create(kSealedFrames);
}

void sealed_idle_and_in_use(World& world) {
  world.make(kSealedFrames);
  world.make(kSealed);
  world.hold("sealed", Role::sender);
  world.hold("sealed", Role::receiver);
  world.watch();
}

void remove_sealed(World& world) {
  world.remove("sealed-frames");
  world.remove_used("sealed");
  world.remove("sealed", true);
}

void open_sealed(World& world) {
  world.open("sealed", Role::receiver);
  world.open("sealed", Role::sender);
}

void one_sealed(World& world) {
  world.make(kSealed);
  world.watch();
}

/// Sealed channels of a daemon that is gone: one held on both sides, one on one, one by nobody, one half removed.
void leave_sealed(World& world) {
  for (const char* name : {"pair", "half", "unheld", "half-removed"}) {
    world.make({.name = name, .options = {.capacity = 16, .layout = Layout::dense, .sealed = true}});
  }
  world.hold("pair", Role::sender);
  world.hold("pair", Role::receiver);
  world.hold("half", Role::receiver);
  world.hold("half-removed", Role::receiver);
  world.daemon.kill();
  fs::rename(world.folder("half-removed"), world.folder(".gone-00000000000000a5"));
  world.expect("half-removed", Fate::gone);
}

void one_channel(World& world) {
  world.make(kStamped);
  world.watch();
}

void open_both(World& world) {
  world.open("stamped", Role::receiver);
  world.open("stamped", Role::sender);
}

void open_twice(World& world) {
  world.open("stamped", Role::sender);
  world.open_taken("stamped", Role::sender);
  world.drop("stamped", Role::sender);
  world.open("stamped", Role::sender);
}

void open_new(World& world) {
  world.open_new("new", Role::receiver);
  world.open_new("new", Role::sender);
}

void intruded(World& world) {
  world.make(kStamped);
  world.intrude("stamped", Role::sender);
}

void open_intruded(World& world) {
  world.open("stamped", Role::sender);
  world.open("stamped", Role::receiver);
}

void two_idle(World& world) {
  world.make(kStamped);
  world.make(kFrames);
  world.watch();
}

void remove_idle(World& world) {
  world.remove("stamped");
  world.remove("frames");
}

void one_in_use(World& world) {
  world.make(kStamped);
  world.hold("stamped", Role::sender);
  world.hold("stamped", Role::receiver);  // last: who attaches rings the other
}

void remove_in_use(World& world) {
  world.remove_used("stamped");
  world.remove("stamped", true);
}

/// What one that was killed at its worst has left: channels, one in use; a folder that was not published yet; one that
/// was not swept yet, with its lines and without; a folder without a definition; a file that was not renamed yet;
/// segments that no folder names; a channel whose segments are gone.
void leave_remains(World& world) {
  for (const char* name :
       {"whole", "used", "half-made", "half-removed", "half-swept", "unfinished", "without-memory"}) {
    world.make({.name = name});
  }
  world.hold("used", Role::receiver);
  world.hold("half-removed", Role::receiver);
  world.daemon.kill();
  fs::rename(world.folder("half-made"), world.folder(".new-00000000000000a1"));
  fs::rename(world.folder("half-removed"), world.folder(".gone-00000000000000a2"));
  fs::rename(world.folder("half-swept"), world.folder(".gone-00000000000000a3"));
  fs::remove(world.folder(".gone-00000000000000a3") + "/data");
  fs::rename(world.folder("unfinished"), world.folder(".new-00000000000000a4"));
  fs::rename(world.folder(".new-00000000000000a4") + "/definition",
             world.folder(".new-00000000000000a4") + "/.definition");
  fs::copy_file(world.folder("whole") + "/definition", world.folder("whole") + "/.sender");
  world.lose_memory("without-memory");
  for (const char* name : {"half-made", "half-removed", "half-swept", "unfinished", "without-memory"}) {
    world.expect(name, Fate::gone);
  }
}

void ask(World& world) {
  world.ask_everything();
}

void terminate(World& world) {
  ::kill(world.daemon.pid(), SIGTERM);
}

}  // namespace

std::span<const Scenario> scenarios() {
  static const std::vector<Scenario> table{
      {.name = "creating", .least_stops = 150, .prepare = watched, .script = create_small},
      {.name = "creating_in_slices", .least_stops = 60, .prepare = watched, .script = create_in_slices},
      {.name = "opening", .least_stops = 100, .prepare = one_channel, .script = open_both},
      {.name = "opening_again", .least_stops = 100, .prepare = one_channel, .script = open_twice},
      {.name = "opening_with_creation", .least_stops = 150, .prepare = watched, .script = open_new},
      {.name = "opening_intruded", .least_stops = 100, .prepare = intruded, .script = open_intruded},
      {.name = "removing", .least_stops = 80, .prepare = two_idle, .script = remove_idle},
      {.name = "removing_in_use", .least_stops = 60, .prepare = one_in_use, .script = remove_in_use},
      {.name = "asking", .least_stops = 60, .prepare = watched, .script = ask},
      {.name = "adopting",
       .least_stops = 300,
       .prepare = leave_remains,
       .script = {},
       .begin = Scenario::Begin::starting},
      {.name = "creating_sealed", .least_stops = 100, .prepare = watched, .script = create_sealed},
      {.name = "opening_sealed", .least_stops = 60, .prepare = one_sealed, .script = open_sealed},
      {.name = "removing_sealed", .least_stops = 80, .prepare = sealed_idle_and_in_use, .script = remove_sealed},
      {.name = "adopting_sealed",
       .least_stops = 200,
       .prepare = leave_sealed,
       .script = {},
       .begin = Scenario::Begin::starting},
      {.name = "stopping", .least_stops = 20, .prepare = one_in_use, .script = terminate, .ends = true},
  };
  return table;
}

void PrintTo(const Scenario& scenario, std::ostream* out) {
  *out << scenario.name;
}

}  // namespace nimsync::testing
