// Every way in which set-up fails: opening, creating, listing, removing.
//
// Set-up throws nimsync::Error, a std::system_error whose code is one of Errc and whose text names the channel,
// the cause and what to do about it. The table below is the only one: the registry's Varlink errors and the exit
// codes of nimsyncctl are read from it, so that the three can't disagree.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace nimsync {
inline namespace v1 {

enum class Errc : std::uint8_t {
  failed = 1,       // none of the others: the operating system or the registry said something unexpected
  invalid,          // a name, size, capacity or option breaks a rule
  no_such_channel,  //
  exists,           // a channel of that name is there already
  differs,          // it is there, and of another geometry or type than the one asked for
  denied,           // owner, group and mode don't permit it
  no_space,         // shared memory, disk or descriptors ran out
  over_limit,       // a configured limit or quota
  no_registry,      // nobody answers at the socket, or what answers isn't a nimsync registry
  in_use,           // another process holds this side of the channel, or the channel is being removed in use
  corrupted,        // a segment isn't what the registry says it is
};

struct ErrorRow {
  Errc code;
  std::string_view varlink;  // member name in the interface io.nimsync.registry
  int exit_code;             // of nimsyncctl
  std::string_view text;     // what the error category says of the bare code
};

inline constexpr std::array<ErrorRow, 11> kErrors{{
    {Errc::failed, "Failed", 1, "the operation failed"},
    {Errc::invalid, "Invalid", 2, "the request breaks a rule"},
    {Errc::no_such_channel, "NoSuchChannel", 3, "no such channel"},
    {Errc::exists, "Exists", 4, "the channel exists"},
    {Errc::differs, "Differs", 4, "the channel exists and differs"},
    {Errc::denied, "Denied", 5, "permission denied"},
    {Errc::no_space, "NoSpace", 6, "out of space"},
    {Errc::over_limit, "OverLimit", 6, "over a limit"},
    {Errc::no_registry, "NoRegistry", 7, "no registry"},
    {Errc::in_use, "InUse", 10, "in use"},
    {Errc::corrupted, "Corrupted", 11, "corrupted"},
}};

/// The row of a code; unknown codes read as `failed`.
constexpr const ErrorRow& row(Errc code) noexcept {
  for (const auto& each : kErrors) {
    if (each.code == code) return each;
  }
  return kErrors.front();
}

/// The category whose values are Errc. One object for the life of the program.
inline const std::error_category& error_category() noexcept {
  class Category final : public std::error_category {
   public:
    [[nodiscard]] const char* name() const noexcept override { return "nimsync"; }
    [[nodiscard]] std::string message(int code) const override {
      return std::string{row(static_cast<Errc>(code)).text};
    }
  };
  static const Category category;
  return category;
}

inline std::error_code make_error_code(Errc code) noexcept {
  return {static_cast<int>(code), error_category()};
}

class Error : public std::system_error {
 public:
  /// `what` is a whole sentence for a person; it becomes what() unchanged.
  Error(Errc code, std::string what)
      : std::system_error(make_error_code(code)), what_(std::make_shared<const std::string>(std::move(what))) {}

  [[nodiscard]] Errc errc() const noexcept { return static_cast<Errc>(code().value()); }
  [[nodiscard]] const char* what() const noexcept override { return what_->c_str(); }

 private:
  // Shared, so that copying an Error can't throw; const, so that moving one copies.
  const std::shared_ptr<const std::string> what_;
};

}  // namespace v1
}  // namespace nimsync

template <>
struct std::is_error_code_enum<nimsync::Errc> : std::true_type {};
