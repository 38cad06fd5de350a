package shop;

import java.util.HashMap;
import java.util.Map;
import java.util.Set;

/** The flags of a command: --name value, all of them with a value. */
final class Flags {
  private final Map<String, String> values = new HashMap<>();
  private final String usage;

  /** Reads args; ends the process with 2 and the usage where one is not among names or lacks its value. */
  Flags(String usage, Set<String> names, String[] args) {
    this.usage = usage;
    for (int i = 0; i < args.length; i += 2) {
      String name = args[i].startsWith("--") ? args[i].substring(2) : "";
      if (!names.contains(name)) {
        throw fail("unknown flag " + args[i]);
      }
      if (i + 1 == args.length) {
        throw fail(args[i] + " needs a value");
      }
      values.put(name, args[i + 1]);
    }
  }

  String get(String name, String otherwise) {
    return values.getOrDefault(name, otherwise);
  }

  boolean has(String name) {
    return values.containsKey(name);
  }

  String require(String name) {
    if (!values.containsKey(name)) {
      throw fail("--" + name + " is missing");
    }
    return values.get(name);
  }

  int number(String name, int otherwise) {
    if (!values.containsKey(name)) {
      return otherwise;
    }
    try {
      int number = Integer.parseInt(values.get(name));
      if (number >= 0) {
        return number;
      }
    } catch (NumberFormatException e) {
      // said below
    }
    throw fail("--" + name + " " + values.get(name) + ": a whole number from 0 is wanted");
  }

  private RuntimeException fail(String why) {
    System.err.println(why + "\nusage: " + usage);
    System.exit(2);
    return new IllegalStateException(why); // not reached: for the compiler
  }
}
