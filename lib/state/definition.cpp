#include "state/definition.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

namespace nimsync::registry {

namespace {

using protocol::Json;
using protocol::Shape;

constexpr std::size_t kMaxName = 100;
constexpr std::size_t kMaxType = 100;
constexpr unsigned kModeBits = 0666;

// Not std::isalnum: the rule doesn't depend on a locale.
constexpr bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

[[noreturn]] void refuse(Errc code, std::string sentence) {
  throw Error(code, std::move(sentence));
}

/// A member that is a whole number, as large as its place takes; the library would convert whatever is like a number.
template <class Number>
void read_number(const Json& json, const char* member, Number& number) {
  const Json& value = json.at(member);
  if (!value.is_number_unsigned() ||
      value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<Number>::max())) {
    throw protocol::InvalidParameter(member);
  }
  number = static_cast<Number>(value.get<std::uint64_t>());
}

}  // namespace

std::string quote(std::string_view name) {
  std::string text = "'";
  for (const char c : name.substr(0, kMaxName)) text += c >= ' ' && c <= '~' ? c : '?';
  return text + (name.size() > kMaxName ? "...'" : "'");
}

std::string octal(unsigned mode) {
  std::array<char, 16> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "%04o", mode));
  return text.data();
}

void require_name(std::string_view name) {
  const bool good = !name.empty() && name.size() <= kMaxName && is_alphanumeric(name.front()) &&
                    std::all_of(name.begin(), name.end(),
                                [](char c) { return is_alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
  if (good) return;
  refuse(Errc::invalid, "the channel name " + quote(name) +
                            " is not allowed: a name has 1 to 100 letters, digits, '.', '_' or '-' and begins with a "
                            "letter or digit");
}

Geometry require_geometry(std::string_view name, Geometry geometry, const Limits& limits, std::uint64_t page) {
  const std::string channel = "channel " + quote(name) + ": ";
  const bool frames = geometry.layout == Layout::framed;
  const char* unit = frames ? " bytes" : " records";
  if (geometry.capacity == 0) refuse(Errc::invalid, channel + "the capacity is 0; at least 1 is needed");
  const std::uint64_t most = frames ? limits.channel_bytes : limits.capacity;
  if (geometry.capacity > most) {
    refuse(Errc::over_limit, channel + "a capacity of " + std::to_string(geometry.capacity) + unit +
                                 " is above the limit of " + std::to_string(most));
  }
  geometry = layout::rounded(geometry, page);
  if (!frames && geometry.capacity > most) {
    refuse(Errc::over_limit, channel + "the capacity is rounded up to " + std::to_string(geometry.capacity) + unit +
                                 ", above the limit of " + std::to_string(most));
  }
  if (frames) {
    const std::uint64_t largest = layout::largest_frame(geometry.capacity);
    if (geometry.size > largest) {
      refuse(Errc::invalid, channel + "a ring of " + std::to_string(geometry.capacity) +
                                " bytes takes messages of at most " + std::to_string(largest) +
                                " bytes, and the maximum asked for is " + std::to_string(geometry.size));
    }
  }
  if (geometry.size == 0) refuse(Errc::invalid, channel + "the record size is 0; at least 1 byte is needed");
  if (geometry.size > limits.message) {
    refuse(Errc::over_limit, channel + "a message size of " + std::to_string(geometry.size) +
                                 " bytes is above the limit of " + std::to_string(limits.message));
  }
  // By division first: the product of a capacity and a size that are each within limits may not fit into 64 bits.
  if ((!frames && geometry.capacity > limits.channel_bytes / layout::stride(geometry.layout, geometry.size)) ||
      memory_of(geometry, page) > limits.channel_bytes) {
    refuse(Errc::over_limit, channel + std::to_string(geometry.capacity) + unit + " of ring" +
                                 (frames ? "" : ", " + std::to_string(geometry.size) + " bytes each,") +
                                 " need more shared memory than the limit for one channel, " +
                                 std::to_string(limits.channel_bytes) + " bytes");
  }
  return geometry;
}

void require_shape(std::string_view name, const Shape& shape) {
  const std::string channel = "channel " + quote(name) + ": ";
  if (shape.alignment > layout::kCacheLine || (shape.alignment != 0 && !std::has_single_bit(shape.alignment))) {
    refuse(Errc::invalid,
           channel + "an alignment is a power of two of at most 64, and " + std::to_string(shape.alignment) + " isn't");
  }
  if (shape.alignment != 0 && shape.geometry.layout != Layout::framed && shape.geometry.size % shape.alignment != 0) {
    refuse(Errc::invalid, channel + "the record size " + std::to_string(shape.geometry.size) +
                              " is no multiple of the alignment " + std::to_string(shape.alignment));
  }
  const bool printable = std::all_of(shape.type.begin(), shape.type.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (shape.type.size() > kMaxType || !printable) {
    refuse(Errc::invalid, channel + "a type name has at most 100 printable ASCII characters");
  }
}

void require_mode(std::string_view name, unsigned mode) {
  if ((mode & ~kModeBits) != 0) {
    refuse(Errc::invalid, "channel " + quote(name) + ": the mode " + octal(mode) +
                              " has bits other than r and w; only those of 0666 mean something");
  }
}

std::uint64_t memory_of(const Geometry& geometry, std::uint64_t page) {
  return layout::forward_bytes(geometry, page) + layout::return_bytes(page);
}

std::string to_text(const Definition& definition) {
  const Json json{{"version", 1},
                  {"name", definition.name},
                  {"shape", definition.shape},
                  {"owner", definition.owner},
                  {"group", definition.group},
                  {"mode", definition.mode},
                  {"protect", definition.protect},
                  {"sealed", definition.sealed},
                  {"generation", definition.generation},
                  {"created", definition.created},
                  {"forward", {{"name", definition.forward.name}, {"inode", definition.forward.inode}}},
                  {"return", {{"name", definition.back.name}, {"inode", definition.back.inode}}}};
  return json.dump(2) + "\n";
}

Definition from_text(std::string_view text, const Limits& limits, std::uint64_t page) {
  try {
    const Json json = Json::parse(text);
    if (json.at("version") != 1) throw Error(Errc::corrupted, "the definition has a version that isn't 1");
    Definition definition;
    json.at("name").get_to(definition.name);
    json.at("shape").get_to(definition.shape);
    read_number(json, "owner", definition.owner);
    read_number(json, "group", definition.group);
    read_number(json, "mode", definition.mode);
    json.at("protect").get_to(definition.protect);
    if (json.contains("sealed")) json.at("sealed").get_to(definition.sealed);  // absent before there were such channels
    read_number(json, "generation", definition.generation);
    read_number(json, "created", definition.created);
    json.at("forward").at("name").get_to(definition.forward.name);
    read_number(json.at("forward"), "inode", definition.forward.inode);
    json.at("return").at("name").get_to(definition.back.name);
    read_number(json.at("return"), "inode", definition.back.inode);
    require_name(definition.name);
    require_shape(definition.name, definition.shape);
    require_mode(definition.name, definition.mode);
    if (definition.forward.name.empty() != definition.sealed || definition.back.name.empty() != definition.sealed) {
      throw Error(Errc::corrupted, "the definition has names for sealed segments, or none for others");
    }
    // Limits may have been lowered since; what was made within them stays. Only what nobody can have made is refused.
    Limits loosest = limits;
    loosest.capacity = loosest.channel_bytes = std::uint64_t{1} << 40;
    loosest.message = std::uint64_t{1} << 32;
    if (require_geometry(definition.name, definition.shape.geometry, loosest, page) != definition.shape.geometry) {
      throw Error(Errc::corrupted, "the definition's geometry is impossible");
    }
    return definition;
  } catch (const Json::exception& e) {
    throw Error(Errc::corrupted, std::string("the definition can't be read: ") + e.what());
  } catch (const protocol::InvalidParameter& e) {
    throw Error(Errc::corrupted, std::string("the definition has a bad ") + e.what());
  }
}

}  // namespace nimsync::registry
