// nimsyncctl: the command line of nimsync. Parses, runs one verb, and turns what happened into an exit code.

#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <chrono>
#include <clocale>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <optional>
#include <string>
#include <system_error>

#include "tools/check.hpp"
#include "tools/commands.hpp"
#include "tools/doctor.hpp"
#include "tools/metrics.hpp"
#include "tools/top.hpp"
#include "words/arguments.hpp"
#include "words/quantity.hpp"

namespace {

using namespace nimsync;         // NOLINT(google-build-using-namespace): this file is the program
using namespace nimsync::tools;  // NOLINT(google-build-using-namespace)
using namespace nimsync::words;  // NOLINT(google-build-using-namespace)

constexpr const char* kFooter = R"(
Sizes and counts take K, M, G and T for powers of 1024: --bytes 4M. Durations have a unit: --timeout 500ms.

Without --socket, $NIMSYNC_SOCKET, --user or --system the user's registry is used if there is one, else the system's.
When a channel is to be created and there is no registry at all, nimsyncctl starts one for this user, says so, and
the registry ends when it has been without channels and clients for a minute; --no-autostart prevents this.

--json prints one JSON object with "version": 1 (events, stat --watch: one a line). Errors stay text on standard error.

Exit codes: 0 done, 1 other failure, 2 usage, 3 no such channel, 4 exists or differs, 5 denied, 6 space or quota,
7 no registry, 8 timeout, 9 peer lost, 10 in use, 11 corrupted, 12 removed, 128+N ended by signal N; those of check are
Nagios's.)";

constexpr const char* kListFooter = R"(
MSG       bytes of a record, or of the largest frame
CAPACITY  records, or bytes of ring for frames; USED is in the same units
STATE     idle (nobody), waiting (one side), open (both), closed (an ended stream waits), damaged, orphaned (sealed, and
          its memory went with the registry that made it: its holders go on, nobody can join); with --offline also
          sealed, of whose memory nothing can be read then
MODE      permissions, r to receive and w to send; a p behind them: protected, that is, each side maps what the other
          side writes read-only, at a cost of about 20 % in latency and a third in throughput; an s: sealed, that is,
          nobody can change its memory's size)";

constexpr const char* kSendFooter = R"(
Framings: lines (each line a message; the default for frames), raw (records; for frames, what each read gives), length
(four bytes little-endian before each message). At the end of the input the stream is closed, and the receiver ends
once it has everything; with --keep-open it isn't, and the next sender continues it. Input that doesn't fit the channel
is refused, with its line or byte, after everything before it was sent; the stream then stays open.

With --size and --capacity, or --frames and --bytes, the channel is created when it isn't there.)";

constexpr const char* kReceiveFooter = R"(
Ends with 0 when the stream was closed and all of it written, 9 when the sender went away without closing it; with
--follow neither ends it. A message is taken from the channel when it has been written whole, so that whatever ends
this program, the next receiver begins with the first message that wasn't. SIGINT and SIGTERM end it so (130, 143).

Framings as for send; lines puts a newline behind each message, whatever it contains.

With --size and --capacity, or --frames and --bytes, the channel is created when it isn't there.)";

constexpr const char* kTopFooter = R"(
USED, SENT/S and RECEIVED/S are messages, or bytes of ring for frames. FULL is how full the ring is. STALLS/S are blocking sends
that found it full, WAITS/S blocking receives that found it empty; SLEEPS/S and RINGS/S are of both sides.

Keys: n s r u f e m order the table (name, sent, received, used, full, empty, memory), R turns it round, arrows and
Page Up and Down, Home and End move in it, q ends.)";

constexpr const char* kCheckFooter = R"(
Prints one line as Nagios and its kin expect it, numbers behind a "|". Exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
Critical are a registry that doesn't answer, a damaged channel, one that isn't there, and thresholds passed; a threshold
above 100 is never passed. Orphaned channels are a warning.)";

constexpr const char* kDoctorFooter = R"(
Looks at the sockets, the registry's process and limits, its state folder, the channels, their memory and /dev/shm, and
changes nothing. Works with the registry dead. As root it sees most; what it could not read it says. Exit codes: 0 nothing
but notes, 1 an error or a warning.)";

void add_framing(CLI::App& verb, std::optional<Framing>& framing) {
  add_parsed(
      verb, "--framing",
      [](const std::string& value) {
        if (value == "lines") return Framing::lines;
        if (value == "raw") return Framing::raw;
        if (value == "length") return Framing::length;
        throw Error(Errc::invalid, "\"" + value + "\" is not a framing; write lines, raw or length");
      },
      [&framing](Framing value) { framing = value; }, "How messages lie in the bytes: lines, raw or length", "FRAMING");
}

void add_timeout(CLI::App& verb, Timeout& timeout, const std::string& text) {
  add_parsed(
      verb, "--timeout", parse_duration, [&timeout](Timeout value) { timeout = value; }, text, "DURATION");
}

Order parse_order(const std::string& value) {
  for (const auto& each : kOrders) {
    if (each.word == value) return each.order;
  }
  throw Error(Errc::invalid,
              "\"" + value + "\" is not an order; write name, sent, received, used, full, empty or memory");
}

/// "2", "0.5": seconds; or a duration with its unit. "": a second.
std::chrono::milliseconds parse_interval(const std::string& value) {
  constexpr std::chrono::milliseconds kLeast{10};
  constexpr std::chrono::hours kMost{24};
  std::chrono::duration<double> seconds{1};
  const char* end = value.data() + value.size();
  double number = 0;
  if (const auto [at, error] = std::from_chars(value.data(), end, number); error == std::errc{} && at == end) {
    seconds = std::chrono::duration<double>(number);
  } else if (!value.empty()) {
    seconds = parse_duration(value);
  }
  if (!(seconds >= kLeast && seconds <= kMost)) {
    throw Error(Errc::invalid, "\"" + value + "\" is not an interval from 0.01 seconds to 24 hours");
  }
  return std::chrono::duration_cast<std::chrono::milliseconds>(seconds);
}

template <class Store>
CLI::Option* add_interval(CLI::App& verb, const std::string& name, Store store, const std::string& text) {
  return add_parsed(verb, name, parse_interval, store, text, "SECONDS");
}

void add_threshold(CLI::App& verb, const std::string& name, Threshold& threshold, const std::string& of) {
  verb.add_option("--" + name + "-warning", threshold.warning, "Percent of " + of + " to warn at")
      ->type_name("PERCENT")
      ->capture_default_str();
  verb.add_option("--" + name + "-critical", threshold.critical, "Percent of " + of + " that is critical")
      ->type_name("PERCENT")
      ->capture_default_str();
}

Style style_of_terminal() {
  Style style;
  if (::isatty(STDOUT_FILENO) == 0) return style;
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) style.width = size.ws_col;
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  style.colour = (no_colour == nullptr || *no_colour == '\0') && terminal != nullptr && std::string{terminal} != "dumb";
  return style;
}

int usage(const std::string& what, const std::string& verb) {
  std::cerr << "nimsyncctl: " << printable(what) << "; see nimsyncctl " << verb << (verb.empty() ? "" : " ")
            << "--help\n";
  return kExitUsage;
}

int run(int argc, char** argv) {
  CLI::App app{"Creates, lists, measures, removes, fills and drains nimsync channels.", "nimsyncctl"};
  app.set_version_flag("--version", std::string{"nimsyncctl "} + NIMSYNC_VERSION);
  app.set_help_flag("--help,-h", "Print this help and exit");
  app.footer(kFooter);
  app.require_subcommand(0, 1);  // none is complained of below: CLI11 would blame a misspelt verb on its absence
  app.fallthrough();             // global options also stand behind the verb

  Place place;
  Output output{std::cout, std::cerr, false, style_of_terminal()};
  bool user = false;
  bool system = false;
  bool no_header = false;
  bool no_autostart = false;
  auto* socket_option = app.add_option("--socket", place.socket, "The registry's socket")->type_name("PATH");
  auto* user_option = app.add_flag("--user", user, "This user's registry");
  auto* system_option = app.add_flag("--system", system, "The system's registry");
  user_option->excludes(socket_option, system_option);
  system_option->excludes(socket_option);
  app.add_flag("--json", output.json, "Print JSON");
  app.add_flag("--no-header", no_header, "Leave out the table's header");
  app.add_flag("--no-autostart", no_autostart, "Never start a registry");

  std::function<int()> verb;

  CreateOptions create_options;
  auto* create_verb = app.add_subcommand("create", "Create a channel");
  create_verb->add_option("NAME", create_options.name, "The channel")->required();
  add_creation(*create_verb, create_options.creation);
  create_verb->add_flag("--if-not-exists", create_options.if_not_exists,
                        "Do nothing when a channel of that name is there and fits");
  create_verb->callback([&] { verb = [&] { return create(place, create_options, output); }; });

  const auto add_offline = [](CLI::App& to, bool& offline, std::string& state_dir) {
    auto* option = to.add_flag("--offline", offline, "Read the state folder; no registry needs to run");
    to.add_option("--state-dir", state_dir, "That folder, where it isn't at its usual place")
        ->type_name("FOLDER")
        ->needs(option);
    return option;
  };

  ListOptions list_options;
  auto* list_verb = app.add_subcommand("list", "List channels");
  list_verb->add_option("GLOB", list_options.pattern, "Only channels whose names match this shell pattern");
  add_offline(*list_verb, list_options.offline, list_options.state_dir);
  list_verb->footer(kListFooter);
  list_verb->callback([&] { verb = [&] { return list(place, list_options, output); }; });

  StatOptions stat_options;
  std::optional<std::chrono::milliseconds> stat_interval;
  auto* stat_verb = app.add_subcommand("stat", "Show all counts of channels");
  stat_verb->add_option("NAME", stat_options.names, "The channels; all when none is given");
  auto* watch_option = add_interval(
      *stat_verb, "--watch", [&](auto value) { stat_interval = value; },
      "Show what the counts grow by, every so many seconds (1); names stand before it");
  watch_option->expected(0, 1);
  add_offline(*stat_verb, stat_options.offline, stat_options.state_dir)->excludes(watch_option);
  stat_verb->callback([&] {
    verb = [&] {
      if (!stat_interval) return nimsync::tools::stat(place, stat_options, output);
      return watch_rates(place, {.names = stat_options.names, .interval = *stat_interval}, output);
    };
  });

  TopOptions top_options;
  auto* top_verb = app.add_subcommand("top", "Show what goes on in channels, again and again");
  top_verb->add_option("GLOB", top_options.pattern, "Only channels whose names match this shell pattern");
  add_interval(
      *top_verb, "--interval", [&](auto value) { top_options.interval = value; }, "Look every so many seconds (2)");
  add_parsed(
      *top_verb, "--sort", parse_order, [&](Order order) { top_options.order = order; },
      "The order: name, sent (the default), received, used, full, empty or memory", "ORDER");
  top_verb->add_flag("--reverse", top_options.reversed, "The other way round");
  top_verb->add_flag("--once", top_options.once, "Print the table of one interval and end; --json does so too");
  top_verb->footer(kTopFooter);
  top_verb->callback([&] { verb = [&] { return top(place, top_options, output); }; });

  CheckOptions check_options;
  auto* check_verb = app.add_subcommand("check", "Say whether all is well, for monitoring");
  check_verb->add_option("NAME", check_options.names, "Channels that must be there; only these are looked at");
  add_threshold(*check_verb, "used", check_options.used, "a channel's use of its capacity");
  add_threshold(*check_verb, "memory", check_options.memory, "the use of the registry's memory and channels");
  check_verb->add_flag("--need-peers", check_options.need_peers, "Each channel must have a sender and a receiver");
  check_verb->footer(kCheckFooter);
  check_verb->callback([&] { verb = [&] { return check(place, check_options, output); }; });

  MetricsOptions metrics_options;
  auto* metrics_verb = app.add_subcommand("metrics", "Print the registry and its channels as OpenMetrics text");
  metrics_verb->add_option("--output", metrics_options.file, "Put it whole into this file")->type_name("FILE");
  metrics_verb->callback([&] { verb = [&] { return metrics(place, metrics_options, output); }; });

  DoctorOptions doctor_options{.version = NIMSYNC_VERSION, .state_dir = ""};
  auto* doctor_verb = app.add_subcommand("doctor", "Find what is wrong, and say what to do");
  doctor_verb
      ->add_option("--state-dir", doctor_options.state_dir, "The registry's folder, where it isn't at its usual place")
      ->type_name("FOLDER");
  doctor_verb->footer(kDoctorFooter);
  doctor_verb->callback([&] { verb = [&] { return doctor(place, doctor_options, output); }; });

  RemoveOptions remove_options;
  auto* remove_verb = app.add_subcommand("remove", "Remove channels");
  remove_verb->add_option("NAME", remove_options.names, "The channels")->required();
  remove_verb->add_flag("--force", remove_options.force, "Also when somebody holds a side");
  remove_verb->callback([&] { verb = [&] { return nimsync::tools::remove(place, remove_options, output); }; });

  auto* info_verb = app.add_subcommand("info", "Show the registry, its use and its limits");
  info_verb->callback([&] { verb = [&] { return info(place, output); }; });

  bool follow_events = false;
  auto* events_verb = app.add_subcommand("events", "Print what happens to channels, as it happens")->alias("watch");
  events_verb->add_flag("--follow", follow_events, "Go on when the registry ended and there is one again");
  events_verb->callback([&] { verb = [&] { return events(place, follow_events, output); }; });

  SendOptions send_options;
  auto* send_verb = app.add_subcommand("send", "Send standard input to a channel");
  send_verb->add_option("NAME", send_options.name, "The channel")->required();
  add_framing(*send_verb, send_options.framing);
  send_verb->add_flag("--keep-open", send_options.keep_open, "Don't close the stream at the end of the input");
  add_timeout(*send_verb, send_options.timeout, "Wait so long for room, such as 500ms");
  add_creation(*send_verb, send_options.creation);
  send_verb->footer(kSendFooter);
  send_verb->callback([&] { verb = [&] { return nimsync::tools::send(place, send_options, STDIN_FILENO, output); }; });

  ReceiveOptions receive_options;
  bool no_wait = false;
  auto* receive_verb = app.add_subcommand("receive", "Write a channel's messages to standard output");
  receive_verb->add_option("NAME", receive_options.name, "The channel")->required();
  add_framing(*receive_verb, receive_options.framing);
  auto* follow_option =
      receive_verb->add_flag("--follow", receive_options.follow, "Go on when the stream is closed or the sender lost");
  receive_verb->add_flag("--no-wait", no_wait, "Take what is there and end")->excludes(follow_option);
  add_parsed(
      *receive_verb, "--count", parse_size, [&](std::uint64_t value) { receive_options.count = value; },
      "End after so many messages", "N");
  add_timeout(*receive_verb, receive_options.timeout, "Wait so long for the next message, such as 500ms");
  add_creation(*receive_verb, receive_options.creation);
  receive_verb->footer(kReceiveFooter);
  receive_verb->callback([&] {
    receive_options.wait = !no_wait;
    verb = [&] { return receive(place, receive_options, STDOUT_FILENO, output); };
  });

  const auto chosen = [&] {
    const auto verbs = app.get_subcommands();
    return verbs.empty() ? std::string{} : verbs.front()->get_name();
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    const int exit_code = usage(error.what(), chosen());
    return check_verb->parsed() ? kCheckUnknown : exit_code;
  }
  if (!verb) return usage("a verb is missing, such as list", "");
  if (socket_option->count() > 0 && place.socket.empty()) return usage("--socket needs a path", chosen());
  if (output.json && receive_verb->parsed()) {
    return usage("receive writes messages to standard output, where --json has no place", chosen());
  }
  if (output.json && metrics_verb->parsed()) return usage("metrics prints OpenMetrics text, and no JSON", chosen());
  if (user) place.scope = Registry::Scope::user;
  if (system) place.scope = Registry::Scope::system;
  place.may_start = !no_autostart;
  output.style.header = !no_header;

  const int exit_code = verb();
  if (!std::cout.flush()) {
    std::cerr << "nimsyncctl: cannot write to standard output\n";
    return exit_code == 0 ? kExitFailed : exit_code;
  }
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const nimsync::Error& error) {
    std::cerr << "nimsyncctl: " << nimsync::tools::printable(error.what()) << "\n";
    return nimsync::row(error.errc()).exit_code;
  } catch (const std::exception& error) {
    std::cerr << "nimsyncctl: " << nimsync::tools::printable(error.what()) << "\n";
    return nimsync::tools::kExitFailed;
  }
}
