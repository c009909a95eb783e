#include "storage/index_walk.hpp"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

namespace callboard::storage {

index_walk::step index_walk::seek(std::uint64_t number) {
  put_row();
  if (!rows_ || changes_ != nullptr) {
    rows_ = db_.iterate(family::index, nullptr, nullptr, snapshot_);
  }
  const auto key = keys::index_row(shard_, entity_, kind_, number);
  const std::string_view start{key};
  rows_->SeekForPrev(start);
  const bool is_ours =
      rows_->Valid() && keys::is_index_row(rows_->key().ToStringView(), shard_, entity_, kind_);
  if (!is_ours && rows_->status().ok()) rows_->Seek(start);
  if (auto read = read_row(); !read || *read == nullptr) return read;
  const auto behind = std::ranges::upper_bound(segments_, number, {}, &index_segment::number);
  if (behind != segments_.begin()) {
    index_ = static_cast<std::size_t>(behind - segments_.begin()) - 1;
  }
  return at();
}

const index_segment* index_walk::at() const {
  return index_ < segments_.size() ? &segments_[index_] : nullptr;
}

index_walk::step index_walk::next() {
  ++index_;
  return arrive();
}

index_walk::step index_walk::drop() {
  segments_.erase(segments_.begin() + static_cast<std::ptrdiff_t>(index_));
  is_changed_ = true;
  return arrive();
}

/// At a segment of this row, or else at the first of the next.
index_walk::step index_walk::arrive() {
  if (const auto* here = at()) return here;
  put_row();
  if (!rows_->Valid()) return nullptr;
  rows_->Next();
  return read_row();
}

index_walk::step index_walk::read_row() {
  segments_.clear();
  index_ = 0;
  if (auto sound = checked(rows_->status(), "reading the index"); !sound) {
    return std::unexpected{sound.error()};
  }
  if (!rows_->Valid()) return nullptr;
  const auto key = rows_->key().ToStringView();
  if (!keys::is_index_row(key, shard_, entity_, kind_)) return nullptr;
  stored_as_ = keys::number_of_index_row(key);
  auto segments = decode_index_row(stored_as_, rows_->value().ToStringView());
  if (!segments) return std::unexpected{segments.error()};
  segments_ = std::move(*segments);
  return at();
}

void index_walk::put_row() {
  if (!std::exchange(is_changed_, false)) return;
  auto* index = db_.handle(family::index);
  const auto number = segments_.empty() ? std::nullopt : std::optional{segments_.front().number};
  if (number != stored_as_) {
    const auto key = keys::index_row(shard_, entity_, kind_, stored_as_);
    changes_->Delete(index, std::string_view{key}).PermitUncheckedError();
  }
  if (!number) return;
  stored_as_ = *number;
  encode_index_row(value_, segments_);
  const auto key = keys::index_row(shard_, entity_, kind_, stored_as_);
  changes_->Put(index, std::string_view{key}, value_).PermitUncheckedError();
}

}  // namespace callboard::storage
