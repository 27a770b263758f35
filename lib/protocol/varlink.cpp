#include "protocol/varlink.hpp"

#include <algorithm>
#include <utility>

#include "protocol/messages.hpp"

namespace nimsync::protocol {

namespace {

/// Counted before parsing: a parser would first build what is then refused.
bool nests_too_deep(std::string_view text) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxNesting) return true;
    } else if ((c == '}' || c == ']') && depth != 0) {
      --depth;
    }
  }
  return false;
}

Json parse_object(std::string_view message) {
  if (nests_too_deep(message))
    throw Malformed("a message nests deeper than " + std::to_string(kMaxNesting) + " levels");
  Json json = Json::parse(message, nullptr, false);
  if (!json.is_object()) throw Malformed("a message is not a JSON object");
  return json;
}

std::string take_string(const Json& object, const char* member) {
  const auto found = object.find(member);
  if (found == object.end()) return {};
  if (!found->is_string()) throw Malformed(std::string("a message's \"") + member + "\" is not a string");
  return found->get<std::string>();
}

bool take_flag(const Json& object, const char* member) {
  const auto found = object.find(member);
  if (found == object.end() || found->is_null()) return false;
  if (!found->is_boolean()) throw Malformed(std::string("a message's \"") + member + "\" is not true or false");
  return found->get<bool>();
}

Json take_parameters(Json& object) {
  const auto found = object.find("parameters");
  if (found == object.end() || found->is_null()) return Json::object();
  if (!found->is_object()) throw Malformed("a message's \"parameters\" is not an object");
  return std::move(*found);
}

/// As one message. Bytes that are no UTF-8 (a process's name may have any) are replaced.
std::string message(const Json& json) {
  std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.push_back('\0');
  return text;
}

}  // namespace

void Splitter::add(std::span<const std::byte> bytes) {
  if (begin_ == buffer_.size()) {
    buffer_.clear();
    begin_ = scanned_ = 0;
  } else if (begin_ > kMaxMessage) {
    buffer_.erase(0, begin_);
    scanned_ -= begin_;
    begin_ = 0;
  }
  buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::optional<std::string> Splitter::next() {
  const std::size_t end = buffer_.find('\0', scanned_);
  const std::size_t size = (end == std::string::npos ? buffer_.size() : end) - begin_;
  if (size > kMaxMessage) throw Malformed("a message is longer than " + std::to_string(kMaxMessage) + " bytes");
  if (end == std::string::npos) {
    scanned_ = buffer_.size();
    return std::nullopt;
  }
  std::string text = buffer_.substr(begin_, size);
  begin_ = scanned_ = end + 1;
  return text;
}

Call parse_call(std::string_view message) {
  Json json = parse_object(message);
  const std::string whole = take_string(json, "method");
  const std::size_t dot = whole.rfind('.');
  if (dot == std::string::npos) throw Malformed("a call's \"method\" is not the name of an interface and a method");
  return {.interface = whole.substr(0, dot),
          .method = whole.substr(dot + 1),
          .parameters = take_parameters(json),
          .oneway = take_flag(json, "oneway"),
          .more = take_flag(json, "more")};
}

Reply parse_reply(std::string_view message) {
  Json json = parse_object(message);
  return {.error = take_string(json, "error"),
          .parameters = take_parameters(json),
          .continues = take_flag(json, "continues")};
}

std::string call(std::string_view interface, std::string_view method, Json parameters, bool more) {
  Json json{{"method", std::string(interface) + "." + std::string(method)}, {"parameters", std::move(parameters)}};
  if (more) json["more"] = true;
  return message(json);
}

std::string reply(Json parameters, bool continues) {
  Json json{{"parameters", std::move(parameters)}};
  if (continues) json["continues"] = true;
  return message(json);
}

std::string error_reply(std::string_view error, Json parameters) {
  return message(Json{{"error", error}, {"parameters", std::move(parameters)}});
}

std::string error_reply(Errc code, std::string_view sentence) {
  return error_reply(std::string(kInterface) + "." + std::string(row(code).varlink), Json{{"message", sentence}});
}

std::optional<Errc> own_error(std::string_view error) {
  const std::string_view interface = kInterface;
  if (!error.starts_with(interface) || error.size() <= interface.size() || error[interface.size()] != '.') return {};
  const std::string_view member = error.substr(interface.size() + 1);
  for (const ErrorRow& each : kErrors) {
    if (each.varlink == member) return each.code;
  }
  return {};
}

}  // namespace nimsync::protocol
