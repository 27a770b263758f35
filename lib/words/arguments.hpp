// Command lines by CLI11: options whose values words/ parses.
//
// Threads: one.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "nimsync/error.hpp"
#include "words/creation.hpp"

namespace nimsync::words {

/// An option whose text is parsed by a function that throws Error.
template <class Parse, class Store>
CLI::Option* add_parsed(CLI::App& app, const std::string& name, Parse parse, Store store, const std::string& text,
                        const std::string& type) {
  return app
      .add_option_function<std::string>(
          name,
          [name, parse, store](const std::string& value) {
            try {
              store(parse(value));
            } catch (const Error& error) {
              throw CLI::ValidationError(name, error.what());
            }
          },
          text)
      ->type_name(type);
}

/// The options that say what a channel is to be. `creation` must outlive the parsing.
void add_creation(CLI::App& verb, Creation& creation);

}  // namespace nimsync::words
