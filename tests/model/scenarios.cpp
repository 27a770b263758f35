// The scenarios of the model, and the program that checks one.
//
//     model SCENARIO    0: every execution did as it should; 1: one didn't, here is how; 2: no such scenario;
//                       3: the search was cut off
#include <cstdio>
#include <cstring>
#include <string_view>

#include "tests/model/process.hpp"

namespace nimsync::model {
namespace {

using layout::Barrier;

// ---- Rings without sleep: what a poll would do.

constexpr Word kStreams = 2;

/// Sends messages in two streams, the first of which has all but one.
template <class Kind>
void poll_sender(Word messages) {
  const RingMemory memory = world().memory();
  SendState state = sending<Kind>(memory, resume_sending<Kind>(memory));
  world().is_attached();
  while (state.stream != kStreams) {
    const Word last = messages - (kStreams - 1 - state.stream);
    while (messages_before<Kind>(state.position) < last) {
      rest(state);
      world().require(world().poll([&] { return try_send<Kind>(state); }) == Status::ok, "a sender doesn't say ok");
    }
    typename Kind::template Sender<SendState&>(state).close();
    state = sending<Kind>(memory, {.position = state.position, .stream = state.stream + 1});
  }
}

template <class Kind>
void poll_receiver() {
  const RingMemory memory = world().memory();
  ReceiveState state = receiving<Kind>(memory, resume_receiving(memory));
  world().is_attached();
  while (state.stream != kStreams) {
    rest(state);
    const Status status = world().poll([&] { return try_receive<Kind>(state); });
    if (status == Status::ok) continue;
    world().require(status == Status::closed, "a receiver says neither ok nor closed");
    ++world().facts.closed;
    typename Kind::template Receiver<ReceiveState&>(state).next_stream();
  }
}

template <class Kind>
Scenario polled(Word capacity, Word messages) {
  Scenario scenario;
  scenario.geometry = Kind::geometry(capacity);
  scenario.bodies[kSender] = [=](unsigned) { poll_sender<Kind>(messages); };
  scenario.bodies[kReceiver] = [](unsigned) { poll_receiver<Kind>(); };
  scenario.goal = [=](const Facts& facts) { return facts.received == messages && facts.closed >= kStreams; };
  return scenario;
}

// ---- Endpoints that sleep.

/// What the processes of a scenario do.
struct Script {
  Word messages = 0;                      // that the senders send, all in all, before they close
  Word taken = ~Word{0};                  // that the receivers take before they wait for `receiver_until`
  Barrier barrier = Barrier::membarrier;  // the sender's; with a fence it polls
  enum class Wait : std::uint8_t { sleep, poll, arm } sender = Wait::sleep, receiver = Wait::sleep;
  bool (*successor_until)(const Facts&) = nullptr;  // what a successor waits for before it does anything
  bool (*sender_until)(const Facts&) = nullptr;     // what the sender waits for before it closes
  bool (*closed_until)(const Facts&) = nullptr;     // and before it ends
  bool (*receiver_until)(const Facts&) = nullptr;
};

/// Whether the call that ended so is to be followed by others.
bool goes_on(Status status) {
  if (status == Status::removed) world().facts.removed[world().self()] = 1;
  world().require(
      status == Status::ok || status == Status::closed || status == Status::peer_lost || status == Status::removed,
      name(status));
  return status != Status::removed;
}

using Wait = Script::Wait;

/// A blocking call.
template <class State, class Attempt>
Status call(Wait how, Bell& bell, State& state, Attempt attempt) {
  switch (how) {
    case Wait::sleep:
      return bell.block(state, attempt);
    case Wait::arm:
      return bell.arm(state, attempt);
    case Wait::poll:
      break;
  }
  return world().poll(attempt);
}

template <class Kind>
void send_all(const Script& script, unsigned life) {
  const RingMemory memory = world().memory();
  const Resume resume = resume_sending<Kind>(memory);
  Bell bell(Role::sender, memory, script.barrier);
  SendState state = sending<Kind>(bell.heard(memory), resume);
  world().is_attached();
  if (script.successor_until != nullptr && life != 0) world().until(script.successor_until);
  if (state.stream != 0) return;  // the predecessor closed it
  const auto attempt = [&] {
    const Status status = try_send<Kind>(state);
    if (status == Status::ok) bell.publish(state);
    return status;
  };
  while (messages_before<Kind>(state.position) < script.messages) {
    rest(state);
    if (!goes_on(call(script.sender, bell, state, attempt))) return;
  }
  if (script.sender_until != nullptr) return world().until(script.sender_until);
  typename Kind::template Sender<SendState&>(state).close();
  bell.publish(state);
  if (script.closed_until != nullptr) world().until(script.closed_until);
}

template <class Kind>
void receive_all(const Script& script, unsigned life) {
  const RingMemory memory = world().memory();
  const Resume resume = resume_receiving(memory);
  Bell bell(Role::receiver, memory, Barrier::membarrier);
  ReceiveState state = receiving<Kind>(bell.heard(memory), resume);
  world().is_attached();
  if (script.successor_until != nullptr && life != 0) world().until(script.successor_until);
  const auto attempt = [&] {
    const Status status = try_receive<Kind>(state);
    if (status == Status::ok) bell.publish(state);
    return status;
  };
  // A loss that wasn't told before the end of the stream is told after it, to who sleeps.
  while (state.stream == 0 || (script.receiver == Wait::sleep &&
                               world().newest(&memory.return_header()->losses) < world().facts.lost[kSender])) {
    rest(state);
    if (world().facts.received == script.taken) return world().until(script.receiver_until);
    const Status status = call(script.receiver, bell, state, attempt);
    if (!goes_on(status)) return;
    if (status != Status::closed) continue;
    ++world().facts.closed;
    typename Kind::template Receiver<ReceiveState&>(state).next_stream();
  }
}

/// What nimsyncd does to remove a channel.
void remove(unsigned /*life*/) {
  world().unlink_lines();
  world().ring(kSender);
  world().ring(kReceiver);
}

template <class Kind>
Scenario slept(Word capacity, const Script& script) {
  Scenario scenario;
  scenario.geometry = Kind::geometry(capacity);
  scenario.bodies[kSender] = [=](unsigned life) { send_all<Kind>(script, life); };
  scenario.bodies[kReceiver] = [=](unsigned life) { receive_all<Kind>(script, life); };
  scenario.goal = [=](const Facts& facts) { return facts.received == script.messages && facts.closed >= 1; };
  return scenario;
}

Scenario dying(Scenario scenario, unsigned senders, unsigned receivers) {
  scenario.deaths = {senders, receivers, 0};
  return scenario;
}
/// Both attach while the other does.
Scenario attaching(Scenario scenario) {
  scenario.attached = false;
  return scenario;
}
Scenario bounded(Scenario scenario, unsigned preemptions) {
  scenario.preemptions = preemptions;
  return scenario;
}
Scenario waking(Scenario scenario, unsigned spurious_wakes) {
  scenario.spurious_wakes = spurious_wakes;
  return scenario;
}
Scenario removed(Scenario scenario, Part who) {
  scenario.bodies[kRegistry] = remove;
  scenario.goal = [=](const Facts& facts) { return facts.removed[who] == 1; };
  return scenario;
}

// The conditions of scripts.
bool knows(const Facts& facts, Part part) {
  return facts.told[part] + facts.unmet[part] >= facts.lost[peer_of(part)] || facts.finished[part] != 0;
}
bool receiver_knows(const Facts& facts) {
  return knows(facts, kReceiver);
}
bool sender_knows(const Facts& facts) {
  return knows(facts, kSender);
}
bool stream_is_closed(const Facts& facts) {
  return facts.closed != 0;
}
bool sender_is_removed(const Facts& facts) {
  return facts.removed[kSender] != 0;
}
bool receiver_is_removed(const Facts& facts) {
  return facts.removed[kReceiver] != 0;
}

struct Named {
  const char* name;
  Scenario (*make)();
};

// Rings of one or two slots; frames of two sizes in rings of 32 and 64 bytes.
const Named kScenarios[] = {
    {"stamped_ring", [] { return polled<Stamped>(2, 5); }},
    {"dense_ring", [] { return polled<Dense>(2, 5); }},
    {"framed_ring", [] { return polled<Framed>(64, 6); }},
    {"stamped_ring_deaths", [] { return dying(polled<Stamped>(2, 5), 1, 1); }},
    {"dense_ring_deaths", [] { return dying(polled<Dense>(2, 5), 1, 1); }},
    {"framed_ring_deaths", [] { return dying(polled<Framed>(64, 5), 1, 1); }},
    {"stamped_sleep", [] { return slept<Stamped>(1, {.messages = 3}); }},
    {"dense_sleep", [] { return slept<Dense>(1, {.messages = 3}); }},
    {"framed_sleep", [] { return slept<Framed>(32, {.messages = 3}); }},
    {"closing", [] { return slept<Dense>(1, {.messages = 2, .closed_until = stream_is_closed}); }},
    {"spurious_wakes", [] { return waking(slept<Dense>(1, {.messages = 2}), 1); }},
    {"fencing_sender",
     [] { return slept<Dense>(1, {.messages = 3, .barrier = Barrier::fence, .sender = Wait::poll}); }},
    {"arming_receiver", [] { return slept<Dense>(1, {.messages = 3, .receiver = Wait::arm}); }},
    {"sender_dies", [] { return dying(slept<Dense>(2, {.messages = 1}), 1, 0); }},
    {"sleeping_sender_dies", [] { return dying(slept<Dense>(1, {.messages = 3, .receiver = Wait::poll}), 1, 0); }},
    {"sleeping_receiver_dies", [] { return dying(slept<Dense>(2, {.messages = 2, .sender = Wait::poll}), 0, 1); }},
    {"receiver_dies", [] { return dying(slept<Dense>(1, {.messages = 2}), 0, 1); }},
    {"both_die", [] { return bounded(dying(slept<Dense>(2, {.messages = 1}), 1, 1), 2); }},
    {"quick_sender", [] { return dying(slept<Dense>(2, {.messages = 1, .successor_until = receiver_knows}), 1, 0); }},
    {"quick_receiver", [] { return dying(slept<Dense>(1, {.messages = 2, .successor_until = sender_knows}), 0, 1); }},
    {"attaching", [] { return attaching(slept<Dense>(1, {.messages = 2})); }},
    {"attaching_sender_dies", [] { return dying(attaching(slept<Dense>(2, {.messages = 1})), 1, 0); }},
    {"attaching_receiver_dies",
     [] { return dying(attaching(slept<Dense>(1, {.messages = 2, .successor_until = sender_knows})), 0, 1); }},
    {"removed_receiver",
     [] { return removed(slept<Dense>(1, {.messages = 1, .sender_until = receiver_is_removed}), kReceiver); }},
    {"removed_sender",
     [] {
       return removed(slept<Dense>(1, {.messages = 3, .taken = 1, .receiver_until = sender_is_removed}), kSender);
     }},
};

int check(const Named& named) {
  const Verdict verdict = world().check(named.make());
  if (!verdict.fault.empty()) {
    std::printf("%s: %s\n", named.name, verdict.fault.c_str());
    for (const std::string& line : verdict.schedule) std::printf("    %s\n", line.c_str());
    return 1;
  }
  std::printf("%s: %zu executions, %zu states, %s to %u preemptions\n", named.name, verdict.executions, verdict.states,
              verdict.complete ? "complete" : "CUT OFF", named.make().preemptions);
  return verdict.complete ? 0 : 3;
}

}  // namespace
}  // namespace nimsync::model

int main(int count, char** arguments) {
  for (const auto& named : nimsync::model::kScenarios) {
    if (count == 2 && std::strcmp(arguments[1], named.name) == 0) return nimsync::model::check(named);
  }
  std::fprintf(stderr, "usage: model SCENARIO, one of\n");
  for (const auto& named : nimsync::model::kScenarios) std::fprintf(stderr, "  %s\n", named.name);
  return 2;
}
