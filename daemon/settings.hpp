// The daemon's settings: what the command line, the environment and the configuration file say together, in this order
// of weight. Every option but --config, --check-config, --help and --version is a key of the file and, as NIMSYNCD_KEY
// (NIMSYNCD_MAX_BYTES), a variable.
//
// The file is one `key = value` a line, with # before a comment: CLI11's format without its sections.
//
// Threads: one.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "daemon/server.hpp"

namespace nimsync::registry {

struct Settings {
  Config server = {};
  std::string log_level = "info";
  std::string file = {};  // that was read; "" for none
  bool check_only = false;
  std::vector<std::string> mistakes = {};  // in declarations of channels, which are left out then
};

/// Of the program's arguments without its name. Without --config the file is /etc/nimsync/nimsyncd.conf for root and
/// services, $XDG_CONFIG_HOME/nimsync/nimsyncd.conf (~/.config without it) for users, where there is one; none is read
/// by a registry with a --socket of its own. An exit code instead when --help or --version has been answered. Error
/// `invalid`: what is wrong, behind the file and line, the variable or the option that is.
std::variant<Settings, int> read_settings(const std::vector<std::string>& arguments);

}  // namespace nimsync::registry
