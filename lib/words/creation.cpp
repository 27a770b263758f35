#include "words/creation.hpp"

namespace nimsync::words {

namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error(Errc::invalid, what);
}

}  // namespace

CreationRequest request_for(const Creation& creation) {
  const bool has_record_options = creation.size || creation.capacity || creation.layout || creation.align;
  const bool has_frame_options = creation.frames || creation.bytes || creation.max_size;
  if (has_record_options && has_frame_options) {
    refuse("cannot create a channel of records and of frames: give --size and --capacity, or --frames and --bytes");
  }
  CreationRequest request;
  if (has_frame_options) {
    if (!creation.frames || !creation.bytes) {
      refuse("cannot create a channel of frames: --frames and --bytes are needed, such as --frames --bytes 4M");
    }
    if (*creation.bytes == 0) refuse("cannot create a channel of frames: --bytes must be at least 1");
    if (creation.max_size == 0) refuse("cannot create a channel of frames: --max-size must be at least 1");
    request.shape.frames = true;
    request.options.capacity = *creation.bytes;
    request.options.max_size = creation.max_size.value_or(0);
  } else {
    if (!creation.size || !creation.capacity) {
      refuse("cannot create a channel: give --size and --capacity for records, or --frames and --bytes for frames");
    }
    if (*creation.size == 0) refuse("cannot create a channel of records: --size must be at least 1");
    if (*creation.capacity == 0) refuse("cannot create a channel of records: --capacity must be at least 1");
    if (creation.layout == Layout::framed) refuse("cannot create a channel of records: --layout is stamped or dense");
    request.shape.size = *creation.size;
    request.shape.alignment = creation.align.value_or(0);
    request.options.capacity = *creation.capacity;
    request.options.layout = creation.layout;
  }
  request.shape.type = creation.type.value_or("");
  request.options.mode = creation.mode.value_or(request.options.mode);
  request.options.group = creation.group.value_or("");
  request.options.protect = creation.protect;
  request.options.sealed = creation.sealed;
  return request;
}

}  // namespace nimsync::words
