using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Scheduler.EndToEnd.Harness;

/// <summary>Signals to a process of this test.</summary>
internal static partial class Signals
{
    public const int Kill = 9;
    public const int Terminate = 15;
    public const int Continue = 18;
    public const int Stop = 19;

    // pidfd_open, the same number on every architecture.
    private const long OpenProcess = 434;
    private const short Readable = 1;
    private const int Interrupted = 4;

    /// <summary>Sends a signal; a process that has ended gets none.</summary>
    public static void Send(Process process, int signal)
    {
        if (!process.HasExited && SendTo(process.Id, signal) != 0)
        {
            throw new Win32Exception(Marshal.GetLastPInvokeError(), $"Signal {signal} did not reach process {process.Id}.");
        }
    }

    /// <summary>
    /// Waits until a process has ended, and says when that was. By the system's own descriptor of the process, because the runtime learns
    /// of the end of its children late when the machine is busy: later than another worker begins what the ended one had.
    /// </summary>
    public static TimeSpan WaitForEnd(Process process)
    {
        var descriptor = (int)Call(OpenProcess, process.Id, 0);
        if (descriptor < 0)
        {
            // It has ended before anybody asked, or the system is an old one.
            process.WaitForExit();
            return HostClock.Boot;
        }
        var end = new Poll { Descriptor = descriptor, Events = Readable };
        while (WaitFor(ref end, 1, -1) < 0 && Marshal.GetLastPInvokeError() == Interrupted)
        {
            // A signal of somebody else's.
        }
        var at = HostClock.Boot;
        _ = Close(descriptor);
        process.WaitForExit();
        return at;
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int SendTo(int processId, int signal);

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial long Call(long number, int processId, uint flags);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int WaitFor(ref Poll entry, ulong entries, int milliseconds);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Close(int descriptor);

    [StructLayout(LayoutKind.Sequential)]
    private struct Poll
    {
        public int Descriptor;
        public short Events;
        public short Happened;
    }
}
