#include "words/arguments.hpp"

#include <cstdint>
#include <functional>
#include <optional>

#include "words/quantity.hpp"

namespace nimsync::words {

void add_creation(CLI::App& verb, Creation& creation) {
  const std::string group = "The channel";
  const auto add = [&](CLI::Option* option) { option->group(group); };
  const auto size = [&](const std::string& name, std::optional<std::uint64_t>& target, const std::string& text,
                        const std::string& type) {
    add(add_parsed(
        verb, name, parse_size, [&target](std::uint64_t value) { target = value; }, text, type));
  };
  size("--size", creation.size, "Records of so many bytes", "BYTES");
  size("--capacity", creation.capacity, "Room for so many records, rounded up to a power of two", "N");
  add(add_parsed(
      verb, "--layout",
      [](const std::string& value) {
        if (value == name(Layout::stamped)) return Layout::stamped;
        if (value == name(Layout::dense)) return Layout::dense;
        throw Error(Errc::invalid, "\"" + value + "\" is not a layout of records; write stamped or dense");
      },
      [&creation](Layout value) { creation.layout = value; },
      "Of records: stamped (lowest latency, the default) or dense (highest throughput)", "LAYOUT"));
  size("--align", creation.align, "Alignment of a record, checked by typed programs", "BYTES");
  add(verb.add_flag("--frames", creation.frames, "Messages of any length"));
  size("--bytes", creation.bytes, "Room for so many bytes of frames, such as 4M, rounded up to a power of two",
       "BYTES");
  size("--max-size", creation.max_size, "The largest frame; 64K unless --bytes is too small for it", "BYTES");
  add(add_parsed(
      verb, "--mode", parse_mode, [&creation](unsigned value) { creation.mode = value; },
      "Permissions as of a file, r to receive and w to send; 0600 when not given", "OCTAL"));
  const auto text = [&](const std::string& name, std::optional<std::string>& target, const std::string& about,
                        const std::string& type) {
    add(verb.add_option_function<std::string>(
                name, [&target](const std::string& value) { target = value; }, about)
            ->type_name(type));
  };
  text("--group", creation.group, "Its group, by name or number; the creator's when not given", "GROUP");
  text("--type", creation.type, "The name of what its messages are, checked when it is opened", "NAME");
  add(verb.add_flag_function(
      "--protect,!--no-protect", [&creation](std::int64_t count) { creation.protect = count > 0; },
      "Let each side map what the other writes read-only; when not given: if the mode admits others than the owner"));
  add(verb.add_flag(
      "--sealed", creation.sealed,
      "Let nobody change its memory's size, whoever holds it; such memory ends with the registry's process"));
}

}  // namespace nimsync::words
