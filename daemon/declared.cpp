#include "daemon/declared.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <system_error>

#include "daemon/names.hpp"
#include "words/arguments.hpp"

namespace nimsync::registry {

namespace {

namespace fs = std::filesystem;

/// Throws Error `invalid`, or CLI11's.
Declaration parse(const std::string& line) {
  CLI::App words;
  words.set_help_flag();
  words::Creation creation;
  Declaration declared;
  std::string owner = std::to_string(::geteuid());
  words.add_option("NAME", declared.call.name)->required();
  words.add_option("--owner", owner);
  words::add_creation(words, creation);
  words.parse(line);
  const words::CreationRequest request = words::request_for(creation);
  const Options& options = request.options;
  const bool frames = request.shape.frames;
  declared.call.shape = {.geometry = {.layout = options.layout.value_or(frames ? Layout::framed : Layout::stamped),
                                      .size = frames ? options.max_size : request.shape.size,
                                      .capacity = options.capacity},
                         .alignment = request.shape.alignment,
                         .type = request.shape.type};
  declared.call.rights = {
      .mode = options.mode, .group = options.group, .protect = options.protect, .sealed = options.sealed};
  declared.group = group_number(options.group);
  declared.owner = as_user(owner, true);
  return declared;
}

std::vector<std::string> files_of(const std::string& folder, bool must_exist, std::vector<std::string>& mistakes) {
  std::vector<std::string> files;
  std::error_code error;
  for (fs::directory_iterator each(folder, error), end; !error && each != end; each.increment(error)) {
    const fs::path& path = each->path();
    if (path.extension() == ".conf" && !path.filename().string().starts_with('.')) files.push_back(path.string());
  }
  if (error && (must_exist || error != std::errc::no_such_file_or_directory))
    mistakes.push_back(folder + ": " + error.message());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

Declarations read_declarations(const std::string& folder, bool must_exist) {
  Declarations all;
  std::map<std::string, std::string> places;  // of the names so far
  for (const std::string& path : files_of(folder, must_exist, all.mistakes)) {
    std::ifstream file(path);
    std::string line;
    int number = 0;
    while (std::getline(file, line)) {
      const std::string where = path + ":" + std::to_string(++number);
      const auto first = line.find_first_not_of(" \t\r");
      if (first == std::string::npos || line[first] == '#') continue;
      try {
        if (line.find('\0') != std::string::npos) throw Error(Errc::invalid, "this is no text");
        Declaration declared = parse(line);
        declared.where = where;
        const auto [there, is_new] = places.emplace(declared.call.name, where);
        if (!is_new) {
          throw Error(Errc::invalid,
                      "channel '" + declared.call.name + "' is declared at " + there->second + " already");
        }
        all.channels.push_back(std::move(declared));
      } catch (const Error& e) {
        all.mistakes.push_back(where + ": " + e.what());
      } catch (const CLI::Error& e) {
        all.mistakes.push_back(where + ": " + e.what());
      }
    }
    if (!file.eof()) all.mistakes.push_back(path + ": cannot be read");
  }
  return all;
}

}  // namespace nimsync::registry
