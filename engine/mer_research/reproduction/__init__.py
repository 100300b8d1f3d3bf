"""The paper's experiments behind one command: tasks, execution, reports and figures."""
