#include "words/creation.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace nimsync::words {
namespace {

std::string refusal(const Creation& creation) {
  try {
    static_cast<void>(request_for(creation));
  } catch (const Error& error) {
    EXPECT_EQ(error.errc(), Errc::invalid);
    return error.what();
  }
  ADD_FAILURE() << "it was taken";
  return {};
}

TEST(Creation, OfRecordsNeedsSizeAndCapacity) {
  const CreationRequest request = request_for(
      {.size = 16, .capacity = 1024, .layout = Layout::dense, .align = 8, .mode = 0620, .group = "users", .type = "T"});
  EXPECT_FALSE(request.shape.frames);
  EXPECT_EQ(request.shape.size, 16U);
  EXPECT_EQ(request.shape.alignment, 8U);
  EXPECT_EQ(request.shape.type, "T");
  EXPECT_EQ(request.options.capacity, 1024U);
  EXPECT_EQ(request.options.layout, Layout::dense);
  EXPECT_EQ(request.options.mode, 0620U);
  EXPECT_EQ(request.options.group, "users");
  EXPECT_EQ(request.options.protect, std::nullopt);
  EXPECT_THAT(refusal({.size = 16}), testing::HasSubstr("give --size and --capacity"));
  EXPECT_THAT(refusal({.capacity = 16}), testing::HasSubstr("give --size and --capacity"));
  EXPECT_THAT(refusal({.size = 0, .capacity = 16}), testing::HasSubstr("--size must be"));
  EXPECT_THAT(refusal({.size = 1, .capacity = 0}), testing::HasSubstr("--capacity must be"));
}

TEST(Creation, OfFramesNeedsBytes) {
  const CreationRequest request = request_for({.frames = true, .bytes = 4096, .max_size = 100, .protect = true});
  EXPECT_TRUE(request.shape.frames);
  EXPECT_EQ(request.options.capacity, 4096U);
  EXPECT_EQ(request.options.max_size, 100U);
  EXPECT_EQ(request.options.mode, 0600U);
  EXPECT_EQ(request.options.protect, true);
  EXPECT_THAT(refusal({.frames = true}), testing::HasSubstr("--frames and --bytes are needed"));
  EXPECT_THAT(refusal({.bytes = 4096}), testing::HasSubstr("--frames and --bytes are needed"));
  EXPECT_THAT(refusal({.frames = true, .bytes = 0}), testing::HasSubstr("--bytes must be"));
  EXPECT_THAT(refusal({.frames = true, .bytes = 1, .max_size = 0}), testing::HasSubstr("--max-size must be"));
}

TEST(Creation, OfBothOrNeitherIsRefused) {
  EXPECT_THAT(refusal({.size = 16, .capacity = 4, .frames = true, .bytes = 4096}),
              testing::HasSubstr("records and of frames"));
  EXPECT_THAT(refusal({.layout = Layout::dense, .frames = true, .bytes = 4096}),
              testing::HasSubstr("records and of frames"));
  EXPECT_THAT(refusal({.mode = 0600}), testing::HasSubstr("give --size and --capacity"));
  EXPECT_THAT(refusal({}), testing::HasSubstr("give --size and --capacity"));
}

}  // namespace
}  // namespace nimsync::words
