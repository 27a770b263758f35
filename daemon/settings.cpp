#include "daemon/settings.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <sstream>

#include "daemon/declared.hpp"
#include "daemon/interface.hpp"
#include "daemon/names.hpp"
#include "os/descriptor.hpp"
#include "os/segment.hpp"
#include "words/arguments.hpp"
#include "words/quantity.hpp"

namespace nimsync::registry {

namespace {

constexpr const char* kSystemsFile = "/etc/nimsync/nimsyncd.conf";
constexpr const char* kUsersFile = "/nimsync/nimsyncd.conf";

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// As many descriptors as the system lets this process have; how many that is.
std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlimit raised{.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
  return ::setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

/// All options, with somewhere to put their values.
struct Parser {
  Parser() {
    // Sealed channels take two descriptors each, and no more than a quarter of all, unless more are asked for.
    Limits& limits = settings.server.limits;
    limits.sealed = std::min(limits.sealed, raise_descriptor_limit() / 8);

    app.set_version_flag("--version", "nimsyncd " + std::string(kVersion));
    app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    app.add_option("--config", settings.file,
                   "read this file (default: /etc/nimsync/nimsyncd.conf for root and services, "
                   "~/.config/nimsync/nimsyncd.conf for users, none with --socket)");
    app.add_flag("--check-config", settings.check_only, "say whether the settings are right, and end");
    add("--socket", settings.server.socket,
        "where clients connect (default: the activated socket; else /run/nimsync/registry.sock for root and "
        "services, $XDG_RUNTIME_DIR/nimsync/registry.sock for users)");
    add("--state-dir", settings.server.state_dir,
        "where channels are kept (default: $RUNTIME_DIRECTORY, else the socket's path with .state)");
    add("--channels-dir", channels_dir,
        "channels that are made at start and reload: *.conf, one a line, in the words of nimsyncctl create and --owner "
        "USER (default: channels.d beside the configuration file)");
    add("--log-level", settings.log_level, "trace, debug, info, warn or error")
        ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}))
        ->capture_default_str();
    as_key(words::add_parsed(
        app, "--admin-group", group_number,
        [this](std::optional<std::uint32_t> group) { settings.server.administrators = group; },
        "a group whose members may do what root may, by name or number", "GROUP"));
    add_number("--idle-exit", idle_exit_s, "SECONDS",
               "end after so many seconds without channels and clients; 0 is never");
    add_number("--max-channels", limits.channels, "N", "channels in all");
    add_number("--max-bytes", limits.bytes, "BYTES", "shared memory of all channels; 16G, say");
    add_number("--max-channel-bytes", limits.channel_bytes, "BYTES", "shared memory of one channel");
    add_number("--max-uid-channels", limits.uid_channels, "N",
               "channels of one uid that isn't root or the registry's own");
    add_number("--max-uid-bytes", limits.uid_bytes, "BYTES", "shared memory of such a uid's channels");
    add_number("--max-capacity", limits.capacity, "N", "records of one channel");
    add_number("--max-message", limits.message, "BYTES", "bytes of one record or frame");
    add_number("--max-connections", limits.connections, "N",
               "connections of one uid; at most half of the descriptors that the system allows");
    add_number("--max-sealed", limits.sealed, "N", "sealed channels; each takes two descriptors");
  }

  void parse(std::vector<std::string> arguments) {
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    app.parse(arguments);
    if (idle_exit_s != 0) settings.server.idle_exit = std::chrono::seconds(idle_exit_s);
  }

  CLI::App app{
      "nimsyncd: the registry of nimsync channels. It names, sizes, grants and watches them; messages never pass "
      "through it, and channels outlive it."};
  Settings settings;
  std::string channels_dir;
  std::vector<std::string> keys;  // that files and the environment may have

 private:
  CLI::Option* as_key(CLI::Option* option) {
    keys.push_back(option->get_lnames().front());
    return option;
  }
  CLI::Option* add(const std::string& name, std::string& target, const std::string& text) {
    return as_key(app.add_option(name, target, text));
  }
  void add_number(const std::string& name, std::uint64_t& target, const std::string& type, const std::string& text) {
    as_key(words::add_parsed(
               app, name, words::parse_size, [&target](std::uint64_t value) { target = value; }, text, type))
        ->default_str(words::format_size(target));
  }

  std::uint64_t idle_exit_s = 0;
};

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
  throw Error(Errc::invalid, where + ": " + why.substr(0, why.find('\n')));
}

/// "--key=value", if that is something that can be said.
std::string checked_argument(const std::string& where, const std::string& key, const std::string& value) {
  Parser scratch;
  if (std::find(scratch.keys.begin(), scratch.keys.end(), key) == scratch.keys.end()) {
    refuse(where, "there is no key '" + key.substr(0, 100) + "'");
  }
  std::string argument = "--" + key + "=" + value;
  try {
    scratch.parse({argument});
  } catch (const CLI::ParseError& e) {
    refuse(where, e.what());
  }
  return argument;
}

std::vector<std::string> arguments_in_environment() {
  std::vector<std::string> arguments;
  for (const std::string& key : Parser().keys) {
    std::string name = "NIMSYNCD_" + key;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return c == '-' ? '_' : static_cast<char>(std::toupper(c)); });
    const std::string value = variable(name.c_str());
    if (!value.empty()) arguments.push_back(checked_argument(name, key, value));
  }
  return arguments;
}

std::vector<std::string> arguments_in_file(const std::string& path, bool must_exist) {
  // A folder that isn't to be looked into has none for us; a file that isn't to be read is a mistake.
  if (!must_exist && ::access(path.c_str(), F_OK) != 0) return {};
  std::ifstream file(path);
  if (!file) os::fail(errno, "cannot read the settings in " + path);
  std::vector<std::string> arguments;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    const std::string where = path + ":" + std::to_string(number);
    if (line.find('\0') != std::string::npos) refuse(where, "this is no text");
    const auto first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos || line[first] == '#') continue;
    if (line[first] == '[') refuse(where, "there are no sections here");
    if (line.find('=') == std::string::npos) refuse(where, "this is not of the form key = value");
    std::istringstream text(line);
    const auto items = CLI::ConfigTOML().from_config(text);
    if (items.empty()) refuse(where, "this is not of the form key = value");
    for (const CLI::ConfigItem& item : items) {
      if (item.inputs.size() != 1) refuse(where, "'" + item.fullname() + "' needs one value");
      arguments.push_back(checked_argument(where, item.fullname(), item.inputs.front()));
    }
  }
  if (file.bad()) os::fail(EIO, "cannot read the settings in " + path);
  return arguments;
}

/// "" for none.
std::string default_file() {
  if (::geteuid() == 0 || variable("RUNTIME_DIRECTORY").starts_with("/run/nimsync")) return kSystemsFile;
  const std::string config = variable("XDG_CONFIG_HOME");
  if (!config.empty()) return config + kUsersFile;
  const std::string home = variable("HOME");
  return home.empty() ? "" : home + "/.config" + kUsersFile;
}

}  // namespace

std::variant<Settings, int> read_settings(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = arguments_in_environment();
  all.insert(all.end(), arguments.begin(), arguments.end());
  Parser first;
  try {
    first.parse(all);
  } catch (const CLI::Success& answered) {
    return first.app.exit(answered);
  } catch (const CLI::ParseError& e) {
    refuse("the command line", e.what());
  }
  const bool is_named = !first.settings.file.empty();
  const std::string file = is_named ? first.settings.file : first.settings.server.socket.empty() ? default_file() : "";
  if (!file.empty()) {
    const auto in_file = arguments_in_file(file, is_named);
    all.insert(all.begin(), in_file.begin(), in_file.end());
  }
  Parser whole;
  whole.parse(all);
  Settings settings = std::move(whole.settings);
  settings.file = file;
  std::string folder = whole.channels_dir;
  if (folder.empty() && !file.empty()) folder = file.substr(0, file.rfind('/') + 1) + "channels.d";
  if (!folder.empty()) {
    Declarations declarations = read_declarations(folder, !whole.channels_dir.empty());
    settings.mistakes = std::move(declarations.mistakes);
    // Each against the rules and limits of create, beside those before it.
    Catalog scratch(settings.server.limits, os::page_bytes());
    for (Declaration& each : declarations.channels) {
      try {
        scratch.insert(scratch.define(each.call, each.group, each.owner));
        settings.server.declared.push_back(std::move(each));
      } catch (const Error& e) {
        settings.mistakes.push_back(each.where + ": " + e.what());
      }
    }
  }
  return settings;
}

}  // namespace nimsync::registry
