// lib/protocol over any bytes: it throws what it documents and nothing else, and keeps its limits; what the Splitter
// gives doesn't depend on how the bytes came; what is read as a message of ours has the numbers that were there, and is
// the same when it is written and read again.
//
// The first byte says in pieces of how many bytes the rest comes, the second how often it is repeated: mostly not, and
// else so often that it passes the limit of a message.
#include "protocol/messages.hpp"
#include "protocol/varlink.hpp"
#include "tests/fuzz/bytes.hpp"
#include "tests/rings/channel.hpp"

namespace nimsync::protocol {
namespace {

using rings_test::require;

struct Messages {
  std::vector<std::string> complete;
  bool is_malformed = false;

  bool operator==(const Messages&) const = default;
};

Messages split(std::string_view bytes, std::size_t piece) {
  Messages messages;
  Splitter splitter;
  try {
    while (!bytes.empty()) {
      const std::string_view some = bytes.substr(0, piece);
      bytes.remove_prefix(some.size());
      splitter.add(std::as_bytes(std::span(some)));
      while (auto message = splitter.next()) {
        require(message->size() <= kMaxMessage, "a message above the limit");
        messages.complete.push_back(std::move(*message));
      }
      require(splitter.pending() <= kMaxMessage, "more is kept than a message may have");
    }
  } catch (const Malformed&) {
    messages.is_malformed = true;
  }
  return messages;
}

/// What the Splitter is to give, said another way.
Messages expected(std::string_view bytes) {
  Messages messages;
  for (;;) {
    const std::size_t end = bytes.find('\0');
    const std::string_view message = bytes.substr(0, end);
    messages.is_malformed = message.size() > kMaxMessage;
    if (messages.is_malformed || end == std::string_view::npos) return messages;
    messages.complete.emplace_back(message);
    bytes.remove_prefix(end + 1);
  }
}

std::size_t depth(const Json& json) {
  std::size_t deepest = 0;
  if (json.is_structured()) {
    for (const Json& each : json) deepest = std::max(deepest, depth(each));
    ++deepest;
  }
  return deepest;
}

/// Whether each number that is in both, at the same place, is the same.
bool has_the_numbers_of(const Json& read, const Json& from) {
  if (read.is_number()) return !from.is_number() || read == from;
  if (read.is_array() && from.is_array()) {
    return read.size() == from.size() && std::equal(read.begin(), read.end(), from.begin(), has_the_numbers_of);
  }
  if (!read.is_object() || !from.is_object()) return true;
  return std::all_of(read.items().begin(), read.items().end(), [&](const auto& each) {
    const auto other = from.find(each.key());
    return other == from.end() || has_the_numbers_of(each.value(), *other);
  });
}

template <class T>
void read_as(const Json& json) {
  Json first;
  try {
    first = Json(json.get<T>());
  } catch (const InvalidParameter&) {
    return;
  }
  require(has_the_numbers_of(first, json), "a message has other numbers than it was read of: " + first.dump());
  require(Json(first.get<T>()) == first, "a message isn't what was read of it: " + first.dump());
}

void read_as_all(const Json& parameters) {
  require(depth(parameters) < kMaxNesting, "a message nests deeper than it may");
  read_as<CreateCall>(parameters);
  read_as<OpenCall>(parameters);
  read_as<ListCall>(parameters);
  read_as<StatCall>(parameters);
  read_as<RemoveCall>(parameters);
  read_as<ChannelReply>(parameters);
  read_as<ListReply>(parameters);
  read_as<InfoReply>(parameters);
  read_as<WatchReply>(parameters);
}

std::string without_end(std::string message) {
  require(!message.empty() && message.back() == '\0', "a message without its end");
  message.pop_back();
  require(message.find('\0') == std::string::npos, "a message with an end in its middle");
  return message;
}

void read(const std::string& message) {
  try {
    const Call read = parse_call(message);
    read_as_all(read.parameters);
    const Call again = parse_call(without_end(call(read.interface, read.method, read.parameters, read.more)));
    require(again.interface == read.interface && again.method == read.method && again.parameters == read.parameters &&
                again.more == read.more && !again.oneway,
            "a call isn't what was read of it");
  } catch (const Malformed&) {
  }
  try {
    const Reply read = parse_reply(message);
    read_as_all(read.parameters);
    static_cast<void>(own_error(read.error));
    const Reply again = parse_reply(without_end(read.error.empty() ? reply(read.parameters, read.continues)
                                                                   : error_reply(read.error, read.parameters)));
    require(again.error == read.error && again.parameters == read.parameters, "a reply isn't what was read of it");
  } catch (const Malformed&) {
  }
}

}  // namespace
}  // namespace nimsync::protocol

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nimsync::protocol;
  constexpr std::size_t most = kMaxMessage + 4096;
  nimsync::fuzz::Bytes input(data, size);
  const std::size_t piece = input.below(256);
  const std::uint64_t repeat = input.below(256);
  const std::size_t times = repeat < 240 ? 1 : std::size_t{1} << (repeat - 238);
  const std::string_view once = input.text();
  std::string bytes(once);
  for (std::size_t i = 1; i < times && bytes.size() + once.size() <= most; ++i) bytes += once;

  const Messages messages = split(bytes, piece == 0 ? bytes.size() : piece);
  nimsync::rings_test::require(messages == expected(bytes), "the messages depend on how the bytes came");
  // What is repeated doesn't have to be read more than a few times.
  for (std::size_t i = 0; i < messages.complete.size() && i < 16; ++i) read(messages.complete[i]);
  return 0;
}
