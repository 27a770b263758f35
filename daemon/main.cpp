// nimsyncd: the registry daemon. Reads its settings, serves, and says by its exit code how it went.
#include <cstdlib>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "daemon/log.hpp"
#include "daemon/server.hpp"
#include "daemon/settings.hpp"
#include "daemon/supervisor.hpp"

namespace {

using nimsync::registry::Settings;

constexpr int kUsage = 2;

/// At SIGHUP. Settings that are wrong change nothing.
std::optional<nimsync::registry::Config> read_again(const std::vector<std::string>& arguments) {
  try {
    const auto read = nimsync::registry::read_settings(arguments);
    const auto& settings = std::get<Settings>(read);
    if (!settings.mistakes.empty()) {
      for (const std::string& mistake : settings.mistakes) spdlog::error("{}", mistake);
      throw nimsync::Error(nimsync::Errc::invalid, "a declaration of a channel is wrong");
    }
    nimsync::registry::set_log_level(settings.log_level);
    return settings.server;
  } catch (const nimsync::Error& e) {
    spdlog::error("kept the settings as they were: {}", e.what());
    return std::nullopt;
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  Settings settings;
  try {
    const auto read = nimsync::registry::read_settings(arguments);
    if (const int* answered = std::get_if<int>(&read)) return *answered;
    settings = std::get<Settings>(read);
  } catch (const nimsync::Error& e) {
    std::cerr << "nimsyncd: " << e.what() << "; see nimsyncd --help\n";
    nimsync::registry::supervisor::cannot_start(e.what());
    return kUsage;
  }
  if (settings.check_only) {
    for (const std::string& mistake : settings.mistakes) std::cerr << "nimsyncd: " << mistake << "\n";
    if (!settings.mistakes.empty()) return kUsage;
    std::cout << "nimsyncd: the settings are right"
              << (settings.file.empty() ? std::string() : " (" + settings.file + ")") << "\n";
    return EXIT_SUCCESS;
  }
  nimsync::registry::start_log(settings.log_level);
  for (const std::string& mistake : settings.mistakes) spdlog::error("{}", mistake);
  settings.server.read_again = [&arguments] { return read_again(arguments); };
  nimsync::registry::Server server(settings.server);
  server.run();
  return EXIT_SUCCESS;
} catch (const std::exception& e) {
  std::cerr << "nimsyncd: " << e.what() << "\n";
  return EXIT_FAILURE;
}
