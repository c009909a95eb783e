callboard_test(runtime_workflow_test
  SOURCES workflow/agents.test.cpp workflow/answered_messages.test.cpp workflow/attempts.test.cpp workflow/branches.test.cpp workflow/changed_arguments.test.cpp workflow/codec.test.cpp workflow/deadlines.test.cpp workflow/engine.test.cpp workflow/exceptions.test.cpp workflow/models.test.cpp workflow/random_programs.test.cpp workflow/recordable.test.cpp workflow/rerun.test.cpp workflow/same_again.test.cpp workflow/saga.test.cpp workflow/shapes.test.cpp workflow/signals.test.cpp workflow/versions.test.cpp
  LINKS callboard_runtime_workflow
  LABELS unit)
