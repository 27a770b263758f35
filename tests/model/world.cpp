#include "tests/model/world.hpp"

#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <span>

namespace nimsync::model {

namespace {

constexpr const char* kNames[] = {"sender", "receiver", "registry"};

}  // namespace

// ---- Executions.

Verdict World::check(const Scenario& scenario) {
  scenario_ = &scenario;
  search_ = Search();
  verdict_ = Verdict();
  do {
    execute();
    ++verdict_.executions;
    if (outcome_ == Outcome::faulty) {
      telling_ = true;
      search_.repeat();
      execute();
      telling_ = false;
      break;
    }
  } while (search_.states() < kMostStates && search_.next());
  verdict_.states = search_.states();
  verdict_.complete = verdict_.fault.empty() && verdict_.states < kMostStates;
  return std::move(verdict_);
}

void World::execute() {
  facts = Facts();
  memory_.restart(scenario_->geometry.layout == Layout::framed ? scenario_->geometry.capacity : 0);
  lines_ = {};
  fenced_ = View();
  unlinked_ = false;
  preemptions_ = scenario_->preemptions;
  spurious_ = scenario_->spurious_wakes;
  steps_ = 0;
  outcome_ = Outcome::running;
  for (unsigned part = 0; part < kParts; ++part) {
    Process& process = processes_[part];
    process = Process();
    if (!scenario_->bodies[part]) continue;
    process.stand = Stand::to_come;
    process.deaths_left = scenario_->deaths[part];
  }
  if (scenario_->attached) {
    for (const unsigned part : {kSender, kReceiver}) {
      processes_[part].attaching = true;
      running_ = part;
      start(part);
    }
    for (const unsigned part : {kSender, kReceiver, kSender}) see_all_of(fenced_, processes_[part]);
    lines_[kSender].edge = lines_[kReceiver].edge = false;
    lines_[kSender].rung = lines_[kReceiver].rung = false;
  }
  running_ = kNobody;
  others_may_die_ = true;
  choose_who_goes_on();
  while (outcome_ == Outcome::running) {
    Process& process = processes_[running_];
    if (process.stand == Stand::to_come) {
      start(running_);
    } else {
      process.stand = Stand::ready;
      boost::context::fiber& fiber = fibers_[running_].context;  // whoever is running when it comes back
      fiber = std::move(fiber).resume();
    }
  }
}

void World::start(unsigned part) {
  Process& process = processes_[part];
  process.stand = Stand::ready;
  process.local = process.local_at_start = mixed(part + 1, process.life);
  say("begins");
  new (&fibers_[part].context) boost::context::fiber(std::allocator_arg, Stack{stacks_.data() + part * kStack},
                                                     [this, part](boost::context::fiber&& home) {
                                                       home_ = std::move(home);
                                                       scenario_->bodies[part](processes_[part].life);
                                                       close_lines();
                                                       processes_[part].stand = Stand::done;
                                                       facts.finished[part] = 1;
                                                       running_ = kNobody;
                                                       choose_who_goes_on();
                                                       return std::move(home_);
                                                     });
  fibers_[part].context = std::move(fibers_[part].context).resume();
}

bool World::can_go_on(unsigned part) const noexcept {
  const Process& process = processes_[part];
  switch (process.stand) {
    case Stand::to_come:
    case Stand::ready:
      return true;
    case Stand::asleep:
      return lines_[peer_of(part)].has_event();
    case Stand::polling:
      for (Word left = process.looked_at; left != 0; left &= left - 1) {
        const auto place = static_cast<std::size_t>(std::countr_zero(left));
        if (memory_.newest(place) != process.found.seen[place]) return true;
      }
      return false;
    case Stand::waiting:
      return process.condition(facts);
    case Stand::done:
      break;
  }
  return false;
}

/// Leaves the part that goes on in running_, or ends the execution.
void World::choose_who_goes_on() {
  for (;;) {
    if (!telling_ && !search_.is_repeating() && !is_new_state()) return end(Outcome::reached_before);
    std::array<Option, std::size_t{3} * kParts> options;
    unsigned count = 0;
    const bool goes_on = running_ != kNobody && can_go_on(running_);
    if (goes_on) options[count++] = {Option::Kind::run, running_};
    const bool others =
        !goes_on || (preemptions_ != 0 && next_ != Operation::own_store && next_ != Operation::plain_store);
    bool all_done = true;
    for (unsigned part = 0; part < kParts; ++part) {
      if (processes_[part].stand != Stand::done) all_done = false;
      if (part != running_ && others && can_go_on(part)) options[count++] = {Option::Kind::run, part};
      if (part == running_ && !goes_on && can_go_on(part)) options[count++] = {Option::Kind::run, part};
    }
    if (count == 0) {
      if (all_done && !scenario_->goal(facts)) {
        verdict_.fault = "all have finished, and not all was achieved";
        return end(Outcome::faulty);
      }
      if (!all_done) {
        verdict_.fault = "lost wake-up: nobody can go on";
        for (unsigned part = 0; part < kParts; ++part) {
          if (processes_[part].stand == Stand::asleep)
            verdict_.fault += std::string("; the ") + kNames[part] + " sleeps";
        }
        return end(Outcome::faulty);
      }
      return end(Outcome::finished);
    }
    for (unsigned part = 0; part < kParts; ++part) {
      const Process& process = processes_[part];
      const bool alive = process.stand != Stand::done && process.stand != Stand::to_come;
      if (others && spurious_ != 0 && process.stand == Stand::asleep && !can_go_on(part)) {
        options[count++] = {Option::Kind::wake_spuriously, part};
      }
      if (alive && process.deaths_left != 0 &&
          (part == running_ ? !goes_on || next_ != Operation::load : others_may_die_)) {
        options[count++] = {Option::Kind::kill, part};
      }
    }
    const Option chosen = options[search_.choose(count)];
    if (chosen.kind == Option::Kind::kill) {
      kill(chosen.part);
      continue;
    }
    if (goes_on && chosen.part != running_) --preemptions_;
    others_may_die_ = chosen.part != running_;
    running_ = chosen.part;
    if (chosen.kind == Option::Kind::wake_spuriously) {
      --spurious_;
      say("wakes without a cause");
    } else if (processes_[running_].stand == Stand::asleep) {
      lines_[peer_of(running_)].edge = false;
      say("wakes");
    }
    return;
  }
}

void World::kill(unsigned part) noexcept {
  const unsigned running = running_;
  running_ = part;
  say("is killed");
  end_process(part);
  Process& process = processes_[part];
  --process.deaths_left;
  ++process.life;
  process.stand = Stand::to_come;
  process.registered = false;
  process.saw_removal = false;
  process.sight.acquired = process.sight.released = process.sight.current;
  running_ = running == part ? kNobody : running;
}

/// What the kernel does with the lines of a process that has gone, and what everybody can see then.
void World::end_process(unsigned part) noexcept {
  Process& process = processes_[part];
  fenced_.join(process.sight.current);
  if (!process.has_lines) return;
  process.has_lines = false;
  Line& own = lines_[part];
  own.held = false;
  own.edge = own.edge || own.watched;
  own.view.join(process.sight.current);
  Line& peer = lines_[peer_of(part)];
  peer.watched = false;
  for (Line& line : lines_) {
    if (!line.held && !line.watched) line.rung = false;
  }
  layout::Header* const header = part == kSender ? &memory().forward_header()->common : memory().return_header();
  facts.lost[part] = newest(&header->attached) - (part == kSender ? newest(&header->streams) : 0);
}

/// Whether the world as it is was never reached with as many preemptions left.
bool World::is_new_state() {
  std::array<const Sight*, 2> sights{};
  std::size_t count = 0;
  for (const unsigned part : {kSender, kReceiver}) {
    if (processes_[part].stand != Stand::done) sights[count++] = &processes_[part].sight;
  }
  const View base = memory_.base(std::span(sights.data(), count));
  Digest digest;
  for (unsigned part = 0; part < kParts; ++part) {
    const Process& process = processes_[part];
    digest.add(static_cast<Word>(process.stand) | process.life << 8U | process.deaths_left << 16U |
               Word{process.registered} << 24U | Word{process.has_lines} << 25U | Word{process.saw_removal} << 26U);
    digest.add(process.stand == Stand::to_come ? 0 : process.local);
    if (process.stand == Stand::polling) digest.add(process.looked_at << 1U | Word{can_go_on(part)});
  }
  for (std::size_t i = 0; i < count; ++i) {
    digest.add(sights[i]->current.above(base));
    digest.add(sights[i]->acquired.above(base));
    digest.add(sights[i]->released.above(base));
  }
  for (const Line& line : lines_) {
    digest.add(Word{line.rung} | Word{line.held} << 1U | Word{line.watched} << 2U | Word{line.was_held} << 3U |
               Word{line.edge} << 4U);
    digest.add(line.view.above(base));
  }
  digest.add(fenced_.above(base));
  for (const Word fact : std::bit_cast<std::array<Word, sizeof(Facts) / sizeof(Word)>>(facts)) digest.add(fact);
  digest.add(running_ | spurious_ << 8U | Word{unlinked_} << 16U | Word{others_may_die_} << 17U |
             static_cast<Word>(next_) << 18U);
  memory_.digest(digest, base);
  return !search_.was_reached(digest, preemptions_);
}

// ---- In a process.

void World::stop_before(Operation operation) noexcept {
  if (processes_[running_].attaching) return;
  if (++steps_ > kMostSteps) fault("an execution without end");
  next_ = operation;
  go_on();
  others_may_die_ = operation == Operation::of_kernel;
}

/// Returns when this process is to do its next operation, which may be never.
void World::go_on() noexcept {
  const unsigned self = running_;
  const unsigned life = processes_[self].life;
  choose_who_goes_on();
  if (outcome_ != Outcome::running || running_ != self || processes_[self].life != life) {
    leave();
  } else {
    processes_[self].stand = Stand::ready;
  }
}

void World::wait(Stand how) noexcept {
  processes_[running_].stand = how;
  go_on();
}

/// After a look that found nothing to do: returns when another could find something.
void World::wait_for_change() noexcept {
  Process& process = processes_[running_];
  const auto each_place = [&](auto use) {
    for (Word left = process.looked_at; left != 0; left &= left - 1) {
      use(static_cast<std::size_t>(std::countr_zero(left)));
    }
  };
  bool missed = false;  // what was found later in the look makes what was found earlier old
  each_place(
      [&](std::size_t place) { missed = missed || process.found.seen[place] != Memory::oldest(process.sight, place); });
  if (!missed) wait(Stand::polling);
  each_place([&](std::size_t place) { memory_.see_newest(process.sight, place); });
}

void World::is_attached() noexcept {
  Process& process = processes_[running_];
  if (process.attaching) {
    process.attaching = false;
    leave();
  }
}

void World::fault(const char* what) noexcept {
  verdict_.fault = what;
  say("%s", what);
  end(Outcome::faulty);
  leave();
  std::abort();
}

void World::check_access(const char* wrong, std::size_t place) noexcept {
  if (wrong == nullptr) return;
  if (telling_) say("at %s:", memory_.name(place).c_str());
  fault(wrong);
}

Word World::load(const Word* from, Order order) noexcept {
  const std::size_t place = memory_.place(from);
  if (place == Memory::kNoPlace) return *from;
  Process& process = processes_[running_];
  // Its own words only this process stores: nothing to choose, and nothing to wait for.
  const bool own = memory_.is_of_sender(place) == (running_ == kSender);
  if (!own) stop_before(Operation::load);
  check_access(memory_.wrong_with_load(process.sight, place), place);
  const unsigned newest = memory_.newest(place);
  const unsigned choices = newest - Memory::oldest(process.sight, place) + 1;
  const unsigned index = newest - (process.attaching ? 0 : search_.choose(choices));
  const Word value = memory_.load(process.sight, place, index, order);
  if (!own) {
    process.looked_at |= Word{1} << place;
    process.found.seen[place] = static_cast<std::uint8_t>(index);
    learn(value);
  }
  say_access("loads", place, value, index == newest ? "" : ", which is stale");
  return value;
}

void World::store(Word* to, Word value, Order order) noexcept {
  const std::size_t place = memory_.place(to);
  if (memory_.use(place) != Use::none) {
    stop_before(memory_.use(place) == Use::by_owner ? Operation::own_store : Operation::store);
  }
  check_access(memory_.wrong_with_store(processes_[running_].sight, place), place);
  memory_.store(processes_[running_].sight, place, value, order);
  learn(place);
  say_access("stores", place, value, order == Order::ordered ? ", release" : "");
}

void World::copy(std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
  for (std::size_t at = 0; at < bytes; at += sizeof(Word)) {
    Sight& sight = processes_[running_].sight;
    Word word = 0;
    const std::size_t source = memory_.place(from + at);
    if (source != Memory::kNoPlace) {
      check_access(memory_.wrong_with_plain_load(sight, source), source);
      word = memory_.plain_load(sight, source);
      learn(word);
      say_access("copies out", source, word, "");
    } else {
      std::memcpy(&word, from + at, sizeof word);
    }
    const std::size_t target = memory_.place(to + at);
    if (target != Memory::kNoPlace) {
      stop_before(Operation::plain_store);
      check_access(memory_.wrong_with_plain_store(sight, target), target);
      memory_.plain_store(sight, target, word);
      learn(target);
      say_access("copies in", target, word, "");
    } else {
      std::memcpy(to + at, &word, sizeof word);
    }
  }
}

void World::see_all_of(View& shared, Process& process) noexcept {
  shared.join(process.sight.acquired);
  process.sight = {.current = shared, .acquired = shared, .released = shared};
}

void World::fence() noexcept {
  stop_before(Operation::of_kernel);
  see_all_of(fenced_, processes_[running_]);
  say("fence");
}

/// A fence of every registered process at once. What has ended has been seen by fenced_.
void World::membarrier() noexcept {
  stop_before(Operation::of_kernel);
  for (const Process& process : processes_) {
    if (process.registered) fenced_.join(process.sight.acquired);
  }
  for (Process& process : processes_) {
    if (process.registered) see_all_of(fenced_, process);
  }
  say("membarrier");
}

void World::open_lines() noexcept {
  stop_before(Operation::of_kernel);
  Process& process = processes_[running_];
  process.has_lines = true;
  lines_[running_].held = true;
  lines_[running_].was_held = true;
  Line& peer = lines_[peer_of(running_)];
  peer.watched = true;
  peer.was_held = peer.held;
  peer.edge = peer.rung;
  say("opens the lines");
}

void World::take(const Line& line) noexcept {
  processes_[running_].sight.current.join(line.view);
  processes_[running_].sight.acquired.join(line.view);
}

bool World::peer_holds_line() noexcept {
  stop_before(Operation::of_kernel);
  Line& line = lines_[peer_of(running_)];
  if (!line.held) take(line);
  learn(line.held ? 1 : 0);
  say("finds the peer's line %s", line.held ? "held" : "free");
  return line.held;
}

/// A lock that is found free, and a byte that is found, bring what their giver had seen; an empty line brings nothing.
LineNews World::drain() noexcept {
  stop_before(Operation::of_kernel);
  Line& line = lines_[peer_of(running_)];
  const LineNews news{.rung = line.rung, .dead = !line.held};
  line.rung = false;
  if (news.rung || news.dead) take(line);
  learn(Word{news.rung} | Word{news.dead} << 1U);
  say("drains the line:%s%s%s", news.rung ? " rung" : "", news.dead ? " nobody holds it" : "",
      news.rung || news.dead ? "" : " nothing");
  return news;
}

void World::ring(Part holder) noexcept {
  stop_before(Operation::of_kernel);
  Line& line = lines_[holder];
  line.rung = true;
  line.edge = line.edge || line.watched;
  line.view.join(processes_[running_].sight.current);
  say("rings the %s", kNames[peer_of(holder)]);
}

void World::sleep() noexcept {
  say("sleeps");
  wait(Stand::asleep);
}

void World::close_lines() noexcept {
  stop_before(Operation::of_kernel);
  say("ends");
  end_process(running_);
}

void World::unlink_lines() noexcept {
  stop_before(Operation::of_kernel);
  unlinked_ = true;
  say("unlinks the lines");
}

bool World::is_unlinked() noexcept {
  stop_before(Operation::of_kernel);
  processes_[running_].saw_removal = processes_[running_].saw_removal || unlinked_;
  learn(unlinked_ ? 1 : 0);
  say("finds its lines %s", unlinked_ ? "unlinked" : "linked");
  return unlinked_;
}

void World::say_access(const char* what, std::size_t place, Word value, const char* how) noexcept {
  if (telling_) say("%s %s: %#llx%s", what, memory_.name(place).c_str(), static_cast<unsigned long long>(value), how);
}

void World::say(const char* format, ...) noexcept {
  if (!telling_) return;
  std::array<char, 160> text{};
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  const Process& process = processes_[running_];
  verdict_.schedule.push_back(std::string(kNames[running_]) + (process.life != 0 ? "'" : "") + "  " + text.data());
}

}  // namespace nimsync::model
